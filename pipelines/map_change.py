"""Two maps in, what became what out: ``dwplus change``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dwplus.errors import InputError
from dwplus.maps import areas, change
from dwplus.pages import sheets
from dwplus.runtime.console import needs, say
from dwplus.store.legend import map_legend
from pipelines.door import run_command


def classes_of(folder: str) -> list[Path]:
    """The class rasters of a map.

    Raises
    ------
    InputError
        Where there is no finished map.
    """
    found = sorted(Path(folder).glob("class_epsg*.tif"))
    if not found or not (Path(folder) / "map.json").exists():
        raise InputError(f"map {folder}: holds no finished map; make one with make map OUT={folder}")
    return found


def lines(table: pd.DataFrame) -> list[str]:
    """The table for a terminal: rows before, columns after, km2; then loss, gain and net by class."""
    short = [name[:9] for name in table.columns]
    out = [f"{'km2, before / after':22}" + "".join(f"{name:>10}" for name in short)]
    out += [f"{name:22}" + "".join(f"{value:10,.2f}" for value in row) for name, row in
            zip(table.index, table.to_numpy(), strict=True)]
    before, after = table.sum(axis=1), table.sum(axis=0)
    out.append(f"{'class':22}{'before':>10}{'after':>10}{'lost':>10}{'gained':>10}{'net':>10}")
    for name in table.index:
        kept = table.loc[name, name]
        out.append(f"{name:22}{before[name]:10,.2f}{after[name]:10,.2f}{before[name] - kept:10,.2f}"
                   f"{after[name] - kept:10,.2f}{after[name] - before[name]:+10,.2f}")
    return out


def run(before: str, after: str, out: str | None) -> int:
    """Count, print, write. These are differences of two maps: each one's errors look like change."""
    paths = classes_of(before), classes_of(after)
    legend, other = map_legend(before), map_legend(after)
    if legend.classes != other.classes:
        raise InputError(f"change: map {before} has the classes of {legend.table} ({', '.join(legend.classes)}), map "
                         f"{after} those of {other.table} ({', '.join(other.classes)}); take maps of one class table")
    table = areas.change(*paths, legend.classes)
    say(f"areas: {areas.COUNTED}; where either map errs there seems to be change")
    for line in lines(table):
        say(line)
    path = Path(out or Path(after) / f"change_from_{Path(before).name}.csv")
    folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}.map")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheets.write_csv(table, path, index_label="before", float_format="%.6f")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror or error})") from None
    needs("report")
    change.write(folder, Path(before), Path(after), paths, table, legend)
    say(f"table:  {path}    raster:  {folder / 'change.vrt'}    look:  {folder / 'index.html'}")
    say("for areas of change with intervals, draw and label a sample of it: "
        f"dwplus sample {folder} -n 500 -o sample.csv")
    return 0


if __name__ == "__main__":
    run_command("change")
