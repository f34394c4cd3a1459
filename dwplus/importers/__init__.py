"""Public data sets, and folders of a user's own, into a store: one engine, and a small module per set.

A module says where a set's files lie, what their bands, units and codes are, and how they are split, as far as that is
established; the engine looks at every file first, refuses in one sentence what does not fit, then cuts, converts and
writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dwplus.errors import InputError
from dwplus.importers import cloudlulc, folder, mmearth, oem, pie, tum, whu
from dwplus.importers.base import DataSet, Options
from dwplus.importers.engine import Summary, run
from dwplus.importers.probe import IGNORED
from dwplus.runtime.yaml_text import read_yaml

__all__ = ["NAMES", "Options", "Summary", "import_set", "parse_codes"]

_SETS: Mapping[str, DataSet] = {one.name: one for one in (
    whu.SET, pie.SET, oem.SET, tum.DFC2020, tum.SEN12MS, cloudlulc.SET, mmearth.SET)}
#: Names that ``dwplus import`` takes.
NAMES = (*_SETS, "folder")
_Progress = Callable[[int, int], None]


def data_set(name: str, path: Path, options: Options) -> DataSet:
    """A data set by name.

    Raises
    ------
    InputError
        On another name, or options that are of another set.
    """
    if name not in NAMES:
        raise InputError(f"data set {name!r}: must be one of {', '.join(NAMES)}")
    if options.labels is not None and name != "mmearth":
        raise InputError(f"--labels: is an option of mmearth; {name} has one kind of labels")
    if options.layout is not None and name != "folder":
        raise InputError(f"--layout: is an option of folder; the layout of {name} is known")
    if name == "folder":
        return folder.data_set(path, options)
    found = _SETS[name]
    if options.labels is not None:
        if options.labels not in mmearth.LABELS:
            raise InputError(f"--labels {options.labels}: must be {' or '.join(mmearth.LABELS)}")
        return replace(found, table=mmearth.LABELS[options.labels][1])
    return found


def import_set(name: str, path: str | Path, store: str | Path, options: Options | None = None, *,
               say: Callable[[str], None] = lambda _: None, looking: _Progress = lambda *_: None,
               writing: _Progress = lambda *_: None) -> Summary:
    """Import a data set's folder into a store; a stopped import goes on.

    Parameters
    ----------
    name : one of :data:`NAMES`. path : the folder. say : told what was found. looking, writing : progress.

    Raises
    ------
    InputError
        In one sentence; nothing is written then.
    """
    options = options or Options()
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"folder {path}: {'is a file, must be the folder' if path.exists() else 'no such folder'}"
                         f"{' it was unpacked to' if path.exists() else ''}")
    if name == "folder":
        _, layout = folder.load(path, options)
        options = replace(options, scale=options.scale or layout.optical.scale,
                          s1_unit=options.s1_unit or (layout.radar.unit if layout.radar.unit == "linear" else None))
    data = data_set(name, path, options)
    return run(data, data.find(path, options), path, store, options, say=say, looking=looking, writing=writing)


def parse_codes(text: str) -> dict[int, str]:
    """``--codes``: ``1=water,2=forest,0=ignore``, or a YAML file of the same as a mapping.

    Raises
    ------
    InputError
        Where it is neither.
    """
    if "=" not in text:
        raw: Any = read_yaml(Path(text), "--codes takes 1=water,2=forest,0=ignore or a YAML file of it")
        parts: list[tuple[Any, Any]] = list(raw.items()) if isinstance(raw, dict) else [("?", None)]
    else:
        halves = [word.partition("=") for word in text.split(",")]
        parts = [(code.strip(), name.strip() if equals else None) for code, equals, name in halves]
    found: dict[int, str] = {}
    for code, name in parts:
        try:
            number = int(code)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number <= 255 or not isinstance(name, str) or not name or not name.replace("_", "a").isalnum():
            raise InputError(f"--codes {text}: {code}={name} must be a code of 0 to 255 and a class (letters, digits, "
                             f"_) "
                             f"or {IGNORED}, as in 1=water,2=forest,0={IGNORED}")
        if number in found:
            raise InputError(f"--codes {text}: names code {number} twice")
        found[number] = name
    return found
