"""Networks under one budget: the same tiles, crops, epochs, batches and seeds for each, then one table with intervals.

Intervals come from drawing spatial blocks again, the same draws for every network, so that differences between two are
paired; scores are means over seeds.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from dwplus.errors import InputError, scrubbed
from dwplus.runtime.console import say
from dwplus.taxonomy import CLASSES
from model import checkpoint as checkpoints
from model import controls
from model.compare_table import SCORES, lines
from model.config import TrainConfig, make_config, merged, parse_override, said
from model.distributed import device_of
from model.networks.layers import count_parameters
from model.networks.registry import NETWORKS, build, options_for, variants_of
from model.normalise import Normalisation
from model.reliability import against_mask
from model.scoring import Truth, count, evaluation_sets, machine, plain, strata, synthetic_of, tile_cloud
from model.train import train

#: The table lies in :mod:`model.compare_table`; its names are found here as before.
__all__ = ["COUNTS", "DEFAULT", "RARE", "SCORES", "Entry", "Measured", "compare", "config_of", "counts_of", "drawn",
           "gigamacs", "group", "images_per_second", "interval", "lines", "parameters", "parse_entry", "rarest",
           "score_all"]
#: Classes that count as rare: so many, of those that occur, by their true pixels.
RARE = 3
#: The file of counts beside ``compare.json``.
COUNTS = "counts.npz"
#: The published four, and what they are measured against.
DEFAULT = ("segformer", "segformer_s2", "segformer_s1", "late_fusion", "unet", "specsar_former", "claire",
           "cloudlulc_net")


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes
    ----------
    text : as it was asked for. name, variant : of the network; variant "" = the config's. settings : ``key=value``;
        keys with a dot are the config's, others the network's options.
    """

    text: str
    name: str
    variant: str
    settings: tuple[str, ...]

    @property
    def folder(self) -> str:
        """A name that is a folder's."""
        return re.sub(r"[^\w.=+-]+", "_", self.text)


def parse_entry(text: str) -> Entry:
    """``network`` or ``network:variant``, with ``,key=value`` after it, such as ``cloudlulc_net:small,loss.name=rift``.

    Raises
    ------
    InputError
        On an unknown network or variant, or a setting without ``=``.
    """
    # A comma within brackets is the value's.
    head, *settings = (part.strip() for part in re.split(r",(?![^\[]*\])", text))
    name, _, variant = head.partition(":")
    if name not in NETWORKS:
        raise InputError(f"MODELS {text!r}: must be one of {', '.join(NETWORKS)}, with :variant and ,key=value if "
                         "wanted")
    if variant and variant not in variants_of(name):
        raise InputError(f"MODELS {text!r}: variant must be one of {', '.join(variants_of(name)) or '(none)'}")
    for setting in settings:
        parse_override(setting)
    return Entry(text, name, variant, tuple(settings))


def config_of(entry: Entry, base: TrainConfig, seed: int) -> TrainConfig:
    """The base config with the entry's network and settings, and a seed."""
    values = base.to_dict()
    options = options_for(entry.name, base.model.options) | ({"variant": entry.variant} if entry.variant else {})
    for setting in entry.settings:
        over = parse_override(setting)
        if "." in setting.partition("=")[0]:
            values = merged(values, said(over))
        else:
            options |= over
    values["model"] = {"name": entry.name, "options": options}
    return make_config(merged(values, {"run": {"seed": seed}}), f"MODELS {entry.text}")


# -- what a network costs ---------------------------------------------------------------------------------------------

def parameters(net: nn.Module) -> int:
    """Parameters that a map needs: without parts of training only."""
    only = getattr(net, "training_only", ())
    return count_parameters(net) - sum(count_parameters(getattr(net, part)) for part in only)


def gigamacs(name: str, options: dict[str, Any], size: int) -> float:
    """Multiply-adds of one image of ``size`` px, in 1e9: convolutions, linear layers and the products of attention.

    Counted on shapes alone. SpecSAR-Former in its published order of operations has 62.41 at 512 px (the paper's 54.80
    leaves attention's products out).
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        net = build(name, **options).eval()
        inputs = (torch.empty(1, options["s2_bands"], size, size), torch.empty(1, options["s1_bands"], size, size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    out: float = counter.get_total_flops() / 2e9
    return out


@torch.inference_mode()
def images_per_second(net: nn.Module, options: dict[str, Any], size: int, device: torch.device,
                      seconds: float = 3.0) -> tuple[float, float, float]:
    """Median, 5th and 95th percentile over repeated forward passes; batch 8 in bf16 on CUDA, 1 in fp32 on a CPU."""
    cuda = device.type == "cuda"
    batch = 8 if cuda else 1
    inputs = [torch.randn(batch, options[f"{s}_bands"], size, size, device=device) for s in ("s2", "s1")]
    net = net.to(device).eval()
    rates: list[float] = []

    def once() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            net(*inputs)
        if cuda:
            torch.cuda.synchronize(device)

    once()
    end = time.perf_counter() + seconds
    while len(rates) < 5 or time.perf_counter() < end:
        began = time.perf_counter()
        once()
        rates.append(batch / (time.perf_counter() - began))
    low, middle, high = np.quantile(rates, [0.05, 0.5, 0.95])
    return float(middle), float(low), float(high)


# -- scores with intervals --------------------------------------------------------------------------------------------

def rarest(matrix: np.ndarray) -> np.ndarray:
    """The :data:`RARE` classes with the fewest true pixels of a confusion matrix, of those that have any."""
    true = np.asarray(matrix).sum(-1)
    return np.array([c for c in np.argsort(true, kind="stable") if true[c]][:RARE], int)


def score_all(matrices: np.ndarray, rare: np.ndarray | None = None) -> np.ndarray:
    """Many confusion matrices (..., n, n) to (..., 4): mIoU, overall accuracy, macro F1, and the mean IoU of the
    ``rare`` classes (by default of the sum's :func:`rarest`); NaN without any pixel.

    As :func:`model.metrics.scores`: a class without a true pixel is left out.
    """
    m = np.asarray(matrices, "float64")
    hit, true, said = np.einsum("...ii->...i", m), m.sum(-1), m.sum(-2)
    present = true > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        n = present.sum(-1)
        iou = np.where(present, hit / (true + said - hit), 0)
        miou = iou.sum(-1) / n
        rare = rarest(m.reshape(-1, *m.shape[-2:]).sum(0)) if rare is None else rare
        scarce = iou[..., rare].sum(-1) / present[..., rare].sum(-1)
        f1 = np.where(present, 2 * hit / (true + said), 0).sum(-1) / n
        oa = hit.sum(-1) / true.sum(-1)
    return np.stack([miou, oa, f1, scarce], axis=-1)


def drawn(matrices: np.ndarray, blocks: Sequence[Any], draws: int, seed: int = 0) -> np.ndarray:
    """Scores under redrawn blocks, means over seeds: (seeds, tiles, n, n) to (draws, 4).

    The same blocks give the same draws: two networks' rows are paired.
    """
    unique, inverse = np.unique(np.asarray(blocks, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(matrices), len(unique), *matrices.shape[2:]))
    for k, per_tile in enumerate(matrices):
        np.add.at(sums[k], inverse, per_tile)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws).astype("float64")
    rare = rarest(matrices[0].sum(0))  # of all tiles: a draw must not choose its own
    out: np.ndarray = np.mean([score_all(np.tensordot(weights, s, axes=1), rare) for s in sums], axis=0)
    return out


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Quantiles of the finite values; NaN without any."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass
class Measured:
    """Of one entry: what was counted per seed, and what it costs. confusion : (seeds, tiles, 9, 9). control : whether
    nobody asked for it. against_truth : as confusion, rows the truth. reliability : per seed, see
    :func:`model.reliability.against_mask`."""

    entry: Entry
    confusion: np.ndarray
    parameters: int
    gigamacs: float
    images_per_second: tuple[float, float, float]
    minutes: float
    runs: list[str] = field(default_factory=list)
    control: bool = False
    against_truth: np.ndarray | None = None
    reliability: list[dict[str, Any] | None] = field(default_factory=list)


def group(found: list[Measured], mask: np.ndarray, blocks: np.ndarray, reference: int, draws: int,
          names: Sequence[str] = CLASSES) -> dict[str, Any]:
    """Scores of every entry over some tiles, with intervals and paired differences to one of them."""
    several = len(set(blocks[mask])) > 1
    rows: dict[str, Any] = {}
    every = [drawn(m.confusion[:, mask], blocks[mask], draws) if several else np.full((1, len(SCORES)), np.nan)
             for m in found]
    for m, values in zip(found, every, strict=True):
        per_seed = score_all(m.confusion[:, mask].sum(1))
        mean, apart = per_seed.mean(0), values - every[reference]
        base = score_all(found[reference].confusion[:, mask].sum(1)).mean(0)
        rows[m.entry.text] = {name: {
            "value": mean[i], "interval": interval(values[:, i]), "seeds": per_seed[:, i],
            "difference": mean[i] - base[i], "difference_interval": interval(apart[:, i])}
            for i, name in enumerate(SCORES)}
    rare = [names[c] for c in rarest(found[0].confusion[0, mask].sum(0))]
    beside = {m.entry.text: rows.pop(m.entry.text) for m in found if m.control}
    return {"tiles": int(mask.sum()), "blocks": len(set(blocks[mask])), "rare": rare, "entries": plain(rows),
            "controls": plain(beside)}


def control_entries(entries: Sequence[Entry], config: TrainConfig | None = None) -> list[Entry]:
    """The controls that stand beside these entries: a pixel MLP unless it is one of them, and what is fitted."""
    named = [] if any(entry.name == "pixel_mlp" for entry in entries) else [parse_entry("pixel_mlp")]
    fitted = controls.FITTED if config is None else controls.fitted_names(config)
    return named + [Entry(name, name, "", ()) for name in fitted]


def measure_fitted(entry: Entry, paths: list[str], config: TrainConfig, seeds: Sequence[int], split: str,
                   normalisation: Normalisation, device: torch.device, truth: Truth | None) -> Measured:
    """A control that is fitted, counted as networks are; once where the seed decides nothing."""
    matrices, against, minutes = [], [], 0.0
    for seed in seeds if entry.name == "random_forest" else seeds[:1]:
        kept, took = controls.fitted(entry.name, paths, make_config(merged(config.to_dict(), {"run": {"seed": seed}})),
                                     normalisation)
        minutes += took
        result = count(kept, evaluation_sets(paths, split, kept), device=device, hide=False, truth=truth)
        matrices.append(result.confusion[result.main])
        against.append(result.against_truth)
    nothing = float("nan")
    return Measured(entry, np.stack(matrices), 0, nothing, (nothing, nothing, nothing), minutes / len(matrices),
                    control=True, against_truth=stacked(against))


def stacked(matrices: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Confusion matrices of every seed; None where there was no truth."""
    known = [one for one in matrices if one is not None]
    return np.stack(known) if known else None


def truth_group(found: list[Measured], labels: np.ndarray, blocks: np.ndarray, draws: int,
                names: Sequence[str]) -> dict[str, Any]:
    """Scores of every entry against the truth, and of the labels that they learnt from: the ceiling."""
    nothing = float("nan")
    ceiling = Measured(Entry("labels", "labels", "", ()), labels[None], 0, nothing, (nothing,) * 3, 0.0, control=True)
    swapped = [replace(m, confusion=m.against_truth) for m in found if m.against_truth is not None]
    return group([*swapped, ceiling], np.ones(len(blocks), bool), blocks, 0, draws, names)


def counts_of(found: list[Measured], table: pd.DataFrame, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """What every score of a comparison is made of, so that tiles can be grouped in other ways without a network.

    Returns
    -------
    tile_id, block, biome, cloud (percent), of each tile; entries, names in the order of ``confusion_<i>``, int64
    (seeds, tiles, classes, classes), rows the labels, and ``truth_<i>``, rows the truth; truth_labels, of the labels
    themselves. The truth is left out where it is not known.
    """
    out = {"tile_id": table["tile_id"].to_numpy(str), "block": table["block"].to_numpy(str),
           "biome": table["biome"].to_numpy(), "cloud": tile_cloud(table).to_numpy("float64"),
           "entries": np.array([m.entry.text for m in found])}
    for i, m in enumerate(found):
        out[f"confusion_{i}"] = m.confusion
        if m.against_truth is not None:
            out[f"truth_{i}"] = m.against_truth
    return out if labels is None else {**out, "truth_labels": labels}


def compare(stores: str | Path | Sequence[str | Path], out: str | Path, config: TrainConfig,
            models: Sequence[str] = DEFAULT, *, seeds: Sequence[int] = (0,), split: str = "test",
            device: str | None = None, draws: int = 1000, seconds: float = 3.0, command: str = "",
            speak: Callable[[str], None] = say, truth: Truth | None = None) -> dict[str, Any]:
    """Train and evaluate each of a set of networks, and the controls beside them; write ``compare.json`` and, for other
    groups of tiles than its own, ``counts.npz`` (:func:`counts_of`).

    Runs lie in ``out/<entry>/seed_<n>``; those that are finished are not trained again. Controls are a pixel MLP of the
    same budget, a random forest on pixels and the majority class (:mod:`model.controls`).

    Parameters
    ----------
    stores : path or paths. config : the budget, shared by all. models : see :func:`parse_entry`; the first is what the
        others' differences are taken from. seconds : that the speed of each is measured. truth : of the tiles, where it
        is known (:func:`pipelines.truth.truth_of`): scores against it, with the labels' own as the ceiling.

    Returns
    -------
    What ``compare.json`` holds: ``controls`` (what each is), ``against_truth`` (see :func:`group`; None without a
    truth), ``overall``, ``by_cloud_stratum`` and ``over_half_cloud`` (tiles of at least 50 %; see
    :func:`group`), ``reliability`` per entry and seed (see :func:`model.reliability.against_mask`), ``cost`` per entry.

    Raises
    ------
    InputError
        On bad stores, models, or the same model twice, or without scikit-learn.
    """
    paths = [str(s) for s in ([stores] if isinstance(stores, str | Path) else stores)]
    entries = [parse_entry(text) for text in models]
    if not entries or not seeds:
        raise InputError("MODELS: give at least one network, and one seed")
    folders = [entry.folder for entry in entries]
    if twice := sorted({f for f in folders if folders.count(f) > 1}):
        raise InputError(f"MODELS: {twice[0]} stands there twice; name each once")
    for entry in entries:
        build(entry.name, **config_of(entry, config, 0).model.options)  # a bad option is said before hours of training
    controls.check()
    truth = None if config.data.classes else truth  # the truth is in the stores' own classes
    beside, fitted = control_entries(entries, config), controls.fitted_names(config)
    out, where = Path(out), device_of(device)
    found: list[Measured] = []
    table = None
    for entry in [*entries, *(e for e in beside if e.name in NETWORKS)]:
        speak(f"-- {entry.text}{', a control' if entry in beside else ''}")
        matrices, runs, minutes, kept, trust, against = [], [], 0.0, None, [], []
        for seed in seeds:
            run = out / entry.folder / f"seed_{seed}"
            began = time.perf_counter()
            summary = train(paths, run, config_of(entry, config, seed), device=device)
            minutes += sum(r["seconds"] for r in summary.history) / 60
            kept = checkpoints.load(run)
            result = count(kept, evaluation_sets(paths, split, kept), device=where,
                           batch_size=8 if where.type == "cuda" else 1, hide=False, truth=truth)
            against.append(result.against_truth)
            matrices.append(result.confusion[result.main])
            table = result.table
            trust.append(plain(against_mask(kept, result.sets, where)))
            runs.append(str(run))
            speak(f"   seed {seed}: mIoU {100 * score_all(matrices[-1].sum(0))[0]:.2f}, "
                  f"{time.perf_counter() - began:.0f} s")
        assert kept is not None
        options, size = kept.info["model"]["options"], max(result.sets[0].sizes)
        found.append(Measured(entry, np.stack(matrices), parameters(kept.net), gigamacs(entry.name, options, size),
                              images_per_second(kept.net, options, size, where, seconds), minutes / len(seeds), runs,
                              entry in beside, stacked(against), trust))
    assert table is not None and kept is not None
    for entry in beside:
        if entry.name in fitted:
            speak(f"-- {entry.text}, a control: {fitted[entry.name]}")
            found.append(measure_fitted(entry, paths, config, seeds, split, kept.normalisation, where, truth))
            speak(f"   mIoU {100 * score_all(found[-1].confusion.sum(1)).mean(0)[0]:.2f}")
    names = kept.legend.classes
    blocks, every = table["block"].to_numpy(), np.ones(len(table), bool)
    clouded = (tile_cloud(table) >= 50).to_numpy()
    report = {
        "stores": [scrubbed(path) for path in paths], "split": split,
        "label_sources": sorted({data.label_source for data in result.sets}),
        "synthetic": synthetic_of(paths), "seeds": list(seeds), "reference": entries[0].text,
        "config": config.to_dict(),
        "tile_px": size, "machine": machine(where), "versions": checkpoints.versions(), "command": command,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "controls": {e.text: fitted.get(e.name, "a network without neighbours, trained like the others")
                     for e in beside},
        "against_truth": None if result.labels_against_truth is None else truth_group(
            found, result.labels_against_truth, blocks, draws, names),
        "overall": group(found, every, blocks, 0, draws, names),
        "by_cloud_stratum": {name: group(found, mask, blocks, 0, draws, names) for name, mask in strata(table)},
        "over_half_cloud": group(found, clouded, blocks, 0, draws, names) if clouded.any() else None,
        "reliability": {m.entry.text: m.reliability for m in found if any(m.reliability)},
        "cost": {m.entry.text: plain({"parameters": m.parameters, "gmac": m.gigamacs,
                                      "images_per_second": m.images_per_second, "train_minutes": m.minutes,
                                      "runs": m.runs}) for m in found if not m.control},
        "control_cost": {m.entry.text: plain({"parameters": m.parameters or None, "gmac": m.gigamacs,
                                              "images_per_second": m.images_per_second, "train_minutes": m.minutes,
                                              "runs": m.runs}) for m in found if m.control}}
    try:
        (out / "compare.json").write_text(json.dumps(report, indent=1) + "\n")
        np.savez_compressed(out / COUNTS, **counts_of(found, table, result.labels_against_truth))  # type: ignore[arg-type]
    except OSError as error:
        raise InputError(f"out {out}: cannot be written ({error.strerror or error})") from None
    return report
