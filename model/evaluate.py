"""How good is a network, where, and how sure can one be? Confusion matrices per tile in, tables and a page out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import InputError, scrubbed
from dwplus.pages import sheets
from dwplus.pages.words import reference_of
from dwplus.taxonomy import BIOMES
from model.checkpoint import load, versions
from model.distributed import device_of
from model.metrics import Protocol, expected_calibration_error
from model.page import write_page
from model.reliability import against_mask, sentence
from model.scoring import (
    CLOUD_EDGES,
    CONFIDENCE_BINS,
    GAP_EDGES,
    MODALITIES,
    STRATUM_EDGES,
    Result,
    bins,
    calibration_sentence,
    count,
    evaluation_sets,
    machine,
    modalities_of,
    plain,
    strata,
    synthetic_of,
    tile_cloud,
)

#: Counting lies in :mod:`model.scoring`; its names are found here as before.
__all__ = ["CLOUD_EDGES", "CONFIDENCE_BINS", "GAP_EDGES", "MODALITIES", "STRATUM_EDGES", "Result", "bins",
           "block_counts", "count", "evaluate", "evaluation_sets", "lines", "machine", "modalities_of", "plain",
           "strata", "summarise", "tile_cloud", "tile_scores"]


def summarise(result: Result, draws: int = 1000, protocol: Protocol | None = None) -> dict[str, Any]:
    """All tables of an evaluation, as plain JSON values; NaN is null.

    ``overall`` with 95 % ``interval`` over spatial blocks, ``confusion``, ``by_modality``, ``by_biome``,
    ``by_gap_hours``, ``by_cloud`` (of the scene), ``by_cloud_stratum`` (of the tile, where known), ``calibration``,
    ``after_temperature`` where the run has a temperature.
    """
    protocol = protocol or Protocol()
    names = result.legend.classes
    table, matrices = result.table, protocol.masked(result.confusion[result.main], names)
    blocks, images, scored = table["block"].to_numpy(), images_of(table), protocol.scored(names)

    def of(mask: np.ndarray, source: np.ndarray = matrices) -> dict[str, Any]:
        return {"tiles": int(mask.sum()), "blocks": len(set(blocks[mask])),
                **plain(protocol.of(source[mask], scored, images[mask])),
                "interval": plain(protocol.interval(source[mask], blocks[mask], draws, scored=scored,
                                                    images=images[mask]))}

    every = np.ones(len(table), bool)
    calibration = _calibration(result.calibration)
    if result.calibrated is not None:
        calibration["after_temperature"] = _calibration(result.calibrated)
    biomes = [(f"{number} {BIOMES.get(number, '')}".strip(), (table["biome"] == number).to_numpy())
              for number in sorted(table["biome"].unique()) if number]
    return {
        "overall": of(every), "confusion": matrices.sum(axis=0).tolist(),
        "classes": list(result.legend.classes), "palette": list(result.legend.colours),
        "by_modality": {name: of(every, protocol.masked(source, names)) for name, source in result.confusion.items()},
        "by_biome": {name: of(mask) for name, mask in biomes},
        "by_gap_hours": {name: of(mask) for name, mask in _said(table["gap_hours"].abs(), GAP_EDGES, "h")},
        "by_cloud": {name: of(mask) for name, mask in _said(table["s2_cloud"], CLOUD_EDGES, "%")},
        "by_cloud_stratum": {name: of(mask) for name, mask in (
            strata(table) if tile_cloud(table).notna().any() else [])},
        "calibration": plain(calibration),
    }


def images_of(table: pd.DataFrame) -> np.ndarray:
    """The image that each tile is of: itself, or of an imported set the file it was cut from."""
    names = table["tile_id"].astype(str)
    if "scene_row" in table:
        corners = zip(names, table["scene_row"], table["scene_col"], strict=True)
        names = pd.Series([name.removesuffix(f"_r{row:05.0f}_c{column:05.0f}") for name, row, column in corners],
                          table.index)
    found: np.ndarray = (table["data"].astype(str) + " " + names + " " + table["window"].astype(str)).to_numpy(object)
    return found


def _said(values: pd.Series, edges: Sequence[float], unit: str) -> list[tuple[str, np.ndarray]]:
    """Groups by a column; none where no tile says it, as those of imported sets."""
    return bins(values, edges, unit) if values.notna().any() else []


def _calibration(counted: np.ndarray) -> dict[str, Any]:
    """The calibration error and its bins, of sums of confidence and of hits, and pixels."""
    confidence, hits, pixels = counted
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"ece": expected_calibration_error(confidence, hits, pixels),
                "edges": np.linspace(0, 1, CONFIDENCE_BINS + 1), "confidence": confidence / pixels,
                "accuracy": hits / pixels, "pixels": pixels}


def evaluate(stores: str | Path | Sequence[str | Path], run: str | Path, out: str | Path, *, split: str = "test",
             expect: str | None = None, device: str | None = None, shown: int = 8, draws: int = 1000,
             command: str = "", progress: bool = False, protocol: Protocol | None = None,
             flips: bool = False) -> dict[str, Any]:
    """Evaluate a checkpoint and write ``metrics.json``, ``tiles.csv``, ``blocks.csv``, figures and ``index.html``.

    Parameters
    ----------
    stores : path or paths. run : folder of a run (its best weights), or a checkpoint. out : folder that is written.
    split : which tiles. expect : name of the network the checkpoint must be of. shown : tiles on the page.
    draws : of the bootstrap. command : kept in the file. progress : show it. protocol : how figures are made.
    flips : answers are means over flips of the image, see :mod:`model.probabilities`.

    Returns
    -------
    What ``metrics.json`` holds; see :func:`summarise`. ``reliability``: see
    :func:`model.reliability.against_mask`.

    Raises
    ------
    InputError
        On bad stores, bands, checkpoint, or a split with no tiles.
    """
    paths = [str(s) for s in ([stores] if isinstance(stores, str | Path) else stores)]
    checkpoint = load(run, expect)
    protocol = protocol or Protocol()
    protocol.check(checkpoint.legend.classes)
    sets = evaluation_sets(paths, split, checkpoint)
    where = device_of(device)
    result = count(checkpoint, sets, device=where, batch_size=8 if where.type == "cuda" else 1, progress=progress,
                   window=protocol.window, stride=protocol.stride, flips=flips)
    found = {
        "checkpoint": str(checkpoint.path), "model": checkpoint.info["model"], "epoch": checkpoint.info["epoch"],
        "stores": [scrubbed(path) for path in paths], "split": split,
        "label_sources": sorted({d.label_source for d in sets}),
        "synthetic": synthetic_of(paths), "command": command,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "machine": machine(where),
        "versions": versions(), "protocol": protocol.words,
        "temperature": checkpoint.temperature, "flips": flips, **summarise(result, draws, protocol),
        "reliability": plain(against_mask(checkpoint, sets, where))}
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(found, indent=1) + "\n")
        sheets.write_csv(tile_scores(result, protocol), out / "tiles.csv")
        sheets.write_csv(block_counts(result), out / "blocks.csv")
        write_page(out, found, result, checkpoint, shown)
    except OSError as error:
        raise InputError(f"out {out}: cannot be written ({error.strerror or error})") from None
    return found


def tile_scores(result: Result, protocol: Protocol | None = None) -> pd.DataFrame:
    """One row per tile: where and when it is, its overall accuracy and mIoU."""
    protocol = protocol or Protocol()
    names = result.legend.classes
    columns = [name for name in ("scene",) if name in result.table]
    columns += ["tile_id", "window", "biome", "lon", "lat", "gap_hours", "s2_cloud", "block"]
    columns += [name for name in ("cloud_fraction", "stratum", "label_gap_hours") if name in result.table]
    table = result.table[columns].copy()
    found = [protocol.of(m[None], protocol.scored(names))
             for m in protocol.masked(result.confusion[result.main], names)]
    for name in ("oa", "miou", "pixels"):
        table[name] = [f[name] for f in found]
    return table


def block_counts(result: Result) -> pd.DataFrame:
    """Pixels by spatial block, true class and predicted class: what error-adjusted areas of a map are made from."""
    blocks, part = np.unique(result.table["block"].astype(str), return_inverse=True)
    names = np.array(result.legend.classes)
    n = len(names)
    sums = np.zeros((len(blocks), n, n), "int64")
    np.add.at(sums, part, result.confusion[result.main])
    block, true, said = np.nonzero(sums)
    return pd.DataFrame({"block": blocks[block], "true": names[true], "map": names[said],
                         "pixels": sums[block, true, said]})


def lines(found: dict[str, Any]) -> list[str]:
    """The result for a terminal."""
    def percent(value: float | None) -> str:
        return "   -  " if value is None else f"{100 * value:6.2f}"

    def row(name: str, group: dict[str, Any]) -> str:
        low, high = group["interval"]["miou"]
        span = "" if low is None else f"  [{100 * low:.1f}, {100 * high:.1f}]"
        return (f"  {name[:46]:46} {group['tiles']:5} {percent(group['miou'])} {percent(group['oa'])} "
                f"{percent(group['macro_f1'])}{span}")

    out = [f"{found['model']['name']}, split {found['split']}: {found['overall']['tiles']} tiles, "
           f"{found['overall']['pixels']:,} labelled pixels",
           f"  {reference_of(found['label_sources']).figures}"
           f"{'; pixels of the sample planet, synthetic' if found.get('synthetic') else ''}",
           f"  {'':46} tiles   mIoU     OA     F1  mIoU's 95 % interval"]
    if found.get("protocol"):
        out.append(f"  protocol: {found['protocol']}")
    out.append(row("all", found["overall"]))
    for title, key in (("shown", "by_modality"), ("|S1 - S2|", "by_gap_hours"), ("cloudiness", "by_cloud"),
                       ("cloud stratum", "by_cloud_stratum"), ("biome", "by_biome")):
        out += [row(f"{title} {name}", group) for name, group in found[key].items()]
    out.append("  IoU: " + ", ".join(f"{name} {percent(value).strip()}" for name, value in
                                     zip(found["classes"], found["overall"]["iou"], strict=True)))
    out.append(f"  {calibration_sentence(found)}")
    if found["reliability"]:
        out.append(f"  {sentence(found['reliability'])}")
    return out
