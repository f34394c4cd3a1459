"""The skeleton of all pages and cards: templates that escape what they are given, one style, one policy.

Templates lie in ``templates/``. Every value is text until a template says otherwise: a name out of a store, a plan or a
region file is never markup. Pages fetch nothing and run nothing, whatever their data say (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from dwplus.pages import charts, colours, stretch
from dwplus.runtime.paths import whole

#: What a page may load: pictures and styles that lie in it, nothing else, no script and no form.
POLICY = Markup("default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")



def _fence(value: Any) -> Markup:
    """Text within a fence of Markdown: no markup, and nothing that ends the fence."""
    return Markup(str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'"))


def cell(value: Any) -> Markup:
    """Text in running Markdown or a cell of its tables: no markup of HTML and none of Markdown; quotes stay."""
    plain = re.sub(r"&(?=[#\w]+;)", "&amp;", " ".join(str(value).split()))
    plain = plain.replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*\[\]|])", r"\\\1", plain))


def _literal(value: Any) -> Markup:
    """A value as JSON, which is a literal of Python too, without any sign of HTML or Markdown: those are written as
    their numbers, which is the same JSON."""
    text = json.dumps(value, indent=2)
    for sign in "<>&`":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _general(value: float) -> str:
    """A number as short as it is exact enough for people."""
    return f"{value:g}"


_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("dwplus.pages"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
    lstrip_blocks=True, keep_trailing_newline=True)
_environment.filters.update(fence=_fence, cell=cell, literal=_literal, number=charts.number, general=_general)
_environment.globals.update(charts=charts, colours=colours, policy=POLICY)
charts.use(_environment)


def render(template: str, **values: Any) -> str:
    """A page or card: a template of ``templates/``, filled.

    Parameters
    ----------
    values : what the template names; text is escaped, numbers are numbers, charts and pictures are markup.
    """
    return _environment.get_template(template).render(**values)


def write(path: str | Path, template: str, **values: Any) -> Path:
    """Fill a template and put it into its place at once."""
    return put(path, render(template, **values))


def put(path: str | Path, text: str) -> Path:
    """Write a page's text, whole or not at all.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    path = Path(path)
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def image(picture: np.ndarray, words: str, side: int = 170, *, classes: bool = False) -> Markup:
    """An image tag with the picture in it, scaled down to about ``side`` pixels.

    Parameters
    ----------
    picture : uint8 (y, x, 3). words : for those who do not see it. classes : see :func:`dwplus.pages.stretch.smaller`.
    """
    small = stretch.smaller(picture, side, classes=classes)
    return charts.part("picture", source=data_url(png(small)), words=words, width=small.shape[1],
                       height=small.shape[0])


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """While in it, matplotlib reads no mathematics out of the texts it is given: a name with dollars is a name."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):
        yield


def figure(content: bytes, words: str) -> Markup:
    """An image tag with a PNG in it."""
    return charts.part("drawing", source=data_url(content), words=words)


def png(picture: np.ndarray) -> bytes:
    """uint8 (y, x, 3 or 4) as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    """A PNG as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def ours(text: str) -> Markup:
    """A text of ours as it stands, apostrophes too.

    Raises
    ------
    ValueError
        Where it holds a sign of markup.
    """
    if re.search('[<>&"]', text):
        raise ValueError(f"{text!r} holds markup")
    return Markup(text)


def wide(content: bytes, words: str) -> Markup:
    """An image tag as wide as the page with a PNG in it."""
    return charts.part("wide", source=data_url(content), words=words)


def sections(title: str, facts: Sequence[tuple[str, str]], parts: Sequence[tuple[str, str, Any]], *, lead: str = "",
             notes: Sequence[str] = ()) -> str:
    """A page of a title, figures and sections.

    Parameters
    ----------
    facts : value and what it is. parts : title, words and content of each section. notes : in a frame of their own.
    """
    return render("sections.html", title=title, facts=facts, lead=lead, notes=notes, sections=[
        {"title": name, "words": words, "content": content} for name, words, content in parts])


def with_script(template: str, script: str, style: str, data: Any, **values: Any) -> str:
    """A page with one script of ours, which the policy knows by its digest, and data as JSON beside it.

    Parameters
    ----------
    template : takes ``policy_of_script``, ``style``, ``script`` and ``data``. data : as ``json`` takes it.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json.dumps(data)
    for sign in "<>&\u2028\u2029":  # what could end the element, or a line of a script
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return render(template, policy_of_script=Markup(f"{POLICY}; script-src 'sha256-{digest}'"), style=Markup(style),
                  script=Markup(script), data=Markup(text), **values)
