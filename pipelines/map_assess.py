"""A map and its labelled sample in, accuracy and areas out: ``dwplus assess``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.maps import areas, assess_page, labelled, small_areas
from dwplus.maps.estimators import Accuracy, Figure, assess, class_table, matrix_table
from dwplus.maps.interpreters import RULES
from dwplus.maps.intervals import KINDS
from dwplus.maps.legend import open_map
from dwplus.pages import sheets, skeleton
from dwplus.pages.words import synthetic_map
from dwplus.runtime.console import say
from pipelines.door import run_command


@dataclass(frozen=True)
class Options:
    """What a user can say; see ``--help``."""

    folder: str
    samples: Sequence[str]
    interval: str = "wilson"
    consensus: str = "majority"
    polygons: str | None = None
    name_field: str | None = None
    out: str | None = None
    post: bool = True

    def check(self) -> None:
        """Refuse what can be refused before the map is read.

        Raises
        ------
        InputError
            One sentence.
        """
        if self.interval not in KINDS:
            raise InputError(f"--interval {self.interval!r}: must be {', '.join(KINDS)}")
        if self.consensus not in RULES:
            raise InputError(f"--consensus {self.consensus!r}: must be {', '.join(RULES)}")


def run(options: Options) -> int:
    """Read, estimate, print, write."""
    options.check()
    rows, agreement = labelled.join(options.samples, options.consensus)
    named = areas.read_polygons(options.polygons, options.name_field) if options.polygons else None
    shown = open_map(options.folder)
    if named and shown.change:
        raise InputError("--polygons: areas by polygon are made of a map, not of a change; cut the change yourself")
    mapped = shown.counts()
    found = labelled.labelled(rows, shown, mapped, f"sample {options.samples[0]}")
    if named and not {"epsg", "x", "y"} <= set(found.table):
        raise InputError(f"--polygons: sample {options.samples[0]} lacks the columns epsg, x and y, the points' places")
    result = assess(found.points, len(shown.names), mapped if options.post else None, options.interval)
    pixel = shown.pixel_area()
    table = class_table(result, shown.names, mapped, pixel)
    table["design"] = found.design
    matrix = matrix_table(result, shown.names)
    parts = None
    if named:
        counts = areas.count_by_polygon(shown.paths, *named)
        parts = small_areas.table(*named, counts, found.points, found.table, math.sqrt(pixel))
    words = [f"{found.design}, {result.points} points, {options.interval} intervals of 95 %"
             + (", weighted to the map's own counts" if result.post else ""), *found.notes, *agreement]
    for line in [*words, *lines(result, table)]:
        say(line)
    out = Path(options.out or Path(options.samples[0]).with_suffix(".assessment"))
    _write(out, options, result, table, matrix, parts, words)
    say(f"tables:  {out}    look:  {out / 'index.html'}")
    return 0


def span(figure: Figure, scale: float = 1.0, digits: int = 3) -> str:
    """``0.950 (0.931 to 0.964)``."""
    if not math.isfinite(figure.value):
        return "not known"
    value = f"{figure.value * scale:,.{digits}f}"
    if not math.isfinite(figure.low):
        return f"{value} (interval not known)"
    return f"{value} ({figure.low * scale:,.{digits}f} to {figure.high * scale:,.{digits}f})"


def lines(result: Accuracy, table: pd.DataFrame) -> list[str]:
    """Figures for a terminal."""
    whole = float(table["mapped_km2"].sum())
    out = [f"overall accuracy {span(result.overall)}",
           f"{'class':26}{'points':>7}  {'area, km2':34}{'users accuracy':26}{'producers accuracy':26}F1"]
    for c, row in enumerate(table.to_dict("records")):
        if not row["mapped_km2"] and not row["points_true"]:
            continue
        out.append(f"{row['class'][:25]:26}{row['points_mapped']:7}  {span(result.area[c], whole, 2):34}"
                   f"{span(result.user[c], digits=2):26}{span(result.producer[c], digits=2):26}"
                   f"{span(result.f1[c], digits=2)}")
    return out


def _write(out: Path, options: Options, result: Accuracy, table: pd.DataFrame, matrix: pd.DataFrame,
           parts: pd.DataFrame | None, words: list[str]) -> None:
    facts: dict[str, Any] = {
        "map": options.folder, "samples": list(options.samples), "interval": options.interval,
        "consensus": options.consensus, "words": words, "overall": asdict(result.overall), "points": result.points,
        "blocks": result.clusters, "post_stratified": result.post, "classes": table.to_dict("records")}
    try:
        out.mkdir(parents=True, exist_ok=True)
        sheets.write_csv(table, out / "classes.csv", float_format="%.6f")
        sheets.write_csv(matrix, out / "matrix.csv", index_label="map / true", float_format="%.6f")
        if parts is not None:
            sheets.write_csv(parts, out / "polygons.csv", float_format="%.6f")
        (out / "assessment.json").write_text(json.dumps(_plain(facts), indent=1) + "\n")
        folder = Path(options.folder)
        skeleton.put(out / "index.html", assess_page.page(folder.name, words, result, table, matrix, parts,
                                                          synthetic_map(folder)))
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error})") from None


def _plain(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    run_command("assess")
