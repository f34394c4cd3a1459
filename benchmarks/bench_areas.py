"""How often do 95 % intervals of a map's areas and accuracy hold the truth? On the sample planet, where it is known.

    python -m benchmarks.bench_areas

The map is the planet's Dynamic World label of a summer, the truth what grows there: one tile of each of the planet's
sites, as one population. Samples are drawn, assessed and thrown away a thousand times for each design.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
from pathlib import Path

import ee
import numpy as np
import pandas as pd

from dwplus.earth import connect
from dwplus.earth.pixels import fetch
from dwplus.earth.tables import sample_sites
from dwplus.grid import lattice_tiles
from dwplus.maps import designs, estimators
from dwplus.taxonomy import CLASSES, IGNORE

#: Side of a block of the two-stage design, px: 25 of them a tile.
BLOCK = 102
#: The default and the form that papers print; Agresti and Coull's holds as often as Wilson's within a point.
KINDS = ("wilson", "normal")
DESIGNS = ("stratified proportional", "stratified equal", "simple", "two-stage")
FIGURES = ("overall", "area", "user", "producer", "f1")


def population(size: int = 510) -> tuple[np.ndarray, np.ndarray]:
    """Truth and map, uint8 (tile, y, x), 255 where either is not known."""
    session = connect()
    maps, truths = [], []
    for site in sample_sites(session):
        tile = lattice_tiles(site.polygon, size, 10.0)[0]
        bounds = ee.Geometry.Rectangle(list(tile.grid.footprint().bounds))
        # The clearest image of the summer, as a map takes its scene.
        label = ee.ImageCollection("GOOGLE/DYNAMICWORLD/V1").filterBounds(bounds).filterDate(
            "2021-05-01", "2021-10-01").select("label").mosaic()
        truth = ee.ImageCollection("SAMPLE/TRUTH").filterDate("2021-01-01", "2022-01-01").mosaic()
        image = label.unmask(IGNORE, False).toUint8().rename("map").addBands(
            truth.unmask(IGNORE, False).toUint8().rename("truth"))
        found = fetch(session, image, tile.grid, np.dtype([("map", "u1"), ("truth", "u1")]))
        known = (found["map"] != IGNORE) & (found["truth"] != IGNORE)
        maps.append(np.where(known, found["map"], IGNORE))
        truths.append(np.where(known, found["truth"], IGNORE))
    return np.array(truths), np.array(maps)


def truths(truth: np.ndarray, said: np.ndarray) -> dict[str, np.ndarray]:
    """What the figures should be."""
    counts = np.zeros((len(CLASSES),) * 2)
    np.add.at(counts, (said, truth), 1)
    right = np.diag(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"overall": np.array([right.sum() / counts.sum()]), "area": counts.sum(axis=0) / counts.sum(),
                "user": right / counts.sum(axis=1), "producer": right / counts.sum(axis=0),
                "f1": 2 * right / (counts.sum(axis=0) + counts.sum(axis=1))}


def points(design: str, count: int, truth: np.ndarray, said: np.ndarray, block: np.ndarray,
           rng: np.random.Generator) -> estimators.Points:
    """One sample of the population's pixels."""
    counts = np.bincount(said, minlength=len(CLASSES)).astype(float)
    if design == "simple":
        where = rng.choice(len(said), count, replace=False)
        return estimators.Points(np.zeros(count, int), np.array([float(len(said))]), said[where], truth[where])
    if design == "two-stage":
        per = 10
        size = np.bincount(block)
        drawn = rng.choice(len(size), count // per, p=size / size.sum())
        order, start = np.argsort(block, kind="stable"), np.concatenate([[0], np.cumsum(size)])
        where = np.concatenate([order[start[b]:start[b + 1]][rng.choice(size[b], per, replace=False)] for b in drawn])
        return estimators.Points(np.zeros(len(where), int), np.array([float(len(said))]), said[where], truth[where],
                                 np.repeat(np.arange(len(drawn)), per))
    how = design.partition(" ")[2]
    expected = np.full(len(CLASSES), designs.EXPECTED)
    least = min(20, max(2, count // (2 * int((counts > 0).sum()))))
    number = designs.allocate(counts, count, how, least, expected)
    where = np.concatenate([rng.choice(np.flatnonzero(said == c), n, replace=False)
                            for c, n in enumerate(number) if n])
    return estimators.Points(said[where].astype(int), counts, said[where], truth[where])


def simulate(design: str, count: int, truth: np.ndarray, said: np.ndarray, block: np.ndarray, draws: int,
             ) -> pd.DataFrame:
    """Coverage and mean half width, percent, by interval and figure."""
    right = truths(truth, said)
    mapped = np.bincount(said, minlength=len(CLASSES))
    there = right["area"] > 0
    held: dict[tuple[str, str], list[float]] = {(k, f): [] for k in KINDS for f in FIGURES}
    wide: dict[tuple[str, str], list[float]] = {key: [] for key in held}
    for draw in range(draws):
        drawn = points(design, count, truth, said, block, np.random.default_rng([draw, count]))
        for kind in KINDS:
            found = estimators.assess(drawn, len(CLASSES), mapped, kind)
            for name in FIGURES:
                figures = [found.overall] if name == "overall" else getattr(found, name)
                for c, figure in enumerate(figures):
                    value = right[name][c]
                    if (name != "overall" and not there[c]) or not np.isfinite(value) or not np.isfinite(figure.low):
                        continue
                    held[kind, name].append(figure.low <= value <= figure.high)
                    wide[kind, name].append((figure.high - figure.low) / 2)
    return pd.DataFrame([{"design": design, "n": count, "interval": kind, "figure": name,
                          "held": 100 * float(np.mean(held[kind, name])),
                          "half width": 100 * float(np.mean(wide[kind, name])), "intervals": len(held[kind, name])}
                         for kind, name in held if held[kind, name]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--points", type=int, nargs="+", default=[500])
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    truth, said = population()
    valid = said != IGNORE
    tile, y, x = np.nonzero(valid)
    side = -(-said.shape[1] // BLOCK)
    block = pd.factorize((tile * side + y // BLOCK) * side + x // BLOCK)[0]
    truth, said = truth[valid].astype(int), said[valid].astype(int)
    right = truths(truth, said)
    off = np.abs(np.bincount(said, minlength=len(CLASSES)) / len(said) - right["area"])
    print(f"{len(said):,} pixels, {len(np.unique(block))} blocks; overall accuracy {right['overall'][0]:.3f}; counted "
          f"areas are off by up to {100 * off.max():.1f} points of the ground")
    tables = []
    for count in a.points:
        for design in DESIGNS:
            tables.append(simulate(design, count, truth, said, block, a.draws))
            print(f"\n{design}, {count} points, {a.draws} draws: % of intervals that hold the truth, and their mean "
                  "half width in points")
            for what in ("held", "half width"):
                table = tables[-1].pivot(index="interval", columns="figure", values=what)[list(FIGURES)]
                print(table.loc[list(KINDS)].round(1).to_string(), flush=True)
    if a.json:
        a.json.write_text(json.dumps({"date": dt.date.today().isoformat(), "machine": platform.machine(),
                                      "cores": os.cpu_count(), "rows": pd.concat(tables).to_dict("records")}, indent=1))


if __name__ == "__main__":
    main()
