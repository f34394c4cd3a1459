"""A map in, points to label out: ``dwplus sample``."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError
from dwplus.maps import designs, sample
from dwplus.maps.legend import open_map
from dwplus.runtime.console import count_progress, say
from pipelines.door import run_command


def run(folder: str, plan: sample.Plan, expected: str | None, out: str, page: bool, chips: bool) -> int:
    """Say what accuracy how many points give, draw, write the table, the GeoPackage and the page."""
    from dataclasses import replace

    plan.check()
    files = sample.files_of(out)
    shown = open_map(folder)
    plan = replace(plan, expected=designs.expected_of(expected, shown.names))
    counts = shown.counts()
    if not counts.sum():
        raise InputError(f"map {folder}: holds no pixel with a class")
    assert plan.expected is not None
    for line in designs.power_lines(counts / counts.sum(), plan.expected, plan.design, plan.per_block, plan.count):
        say(line)
    frame = sample.draw(shown, plan, counts)
    sample.write(frame, *files[:2])
    if plan.design != "simple":
        by = "block" if plan.design == "two-stage" else "stratum"
        sizes = frame.groupby(by, sort=False).size()
        say(f"{len(sizes)} blocks of {sizes.min()} to {sizes.max()} points" if by == "block" else "points by stratum: "
            + ", ".join(f"{name} {size}" for name, size in sizes.sort_index().items()))
    say(f"{len(frame)} points, {plan.design}, seed {plan.seed}:  {files[0]}, {files[1]}")
    if page:
        from dwplus.maps import labelling

        with count_progress("points pictured") as progress:
            pictures, words = labelling.pictures(shown, frame, progress) if chips else ({}, "without pictures")
        labelling.write_page(shown, frame, pictures, files[2])
        say(f"label them in a browser, no network needed:  {files[2]}  ({words})")
    say(f"then:  dwplus assess {Path(folder)} <the file that the page saves>")
    return 0


if __name__ == "__main__":
    run_command("sample")
