"""The page of an evaluation: figures, tables, and predictions beside labels. One file, nothing to fetch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dwplus.pages import charts, colours, skeleton, stretch
from dwplus.pages.words import Reference, reference_of
from dwplus.store.legend import Legend, legend_of
from dwplus.store.units import decibels
from model.checkpoint import Checkpoint
from model.data import Raw, TileDataset
from model.metrics import scores
from model.normalise import Normaliser
from model.reliability import sentence
from model.scoring import Result, calibration_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

@torch.inference_mode()
def predict(checkpoint: Checkpoint, raw: Raw) -> np.ndarray:
    """Classes (y, x), uint8, of one sample."""
    device = next(checkpoint.net.parameters()).device
    arrays = [torch.from_numpy(np.ascontiguousarray(a))[None].to(device) for a in (raw.s2, raw.s1, raw.label)]
    s2, s1, _ = Normaliser(checkpoint.normalisation).to(device)(*arrays, torch.tensor([raw.keep], device=device))
    out: np.ndarray = checkpoint.net(s2, s1).argmax(1)[0].cpu().numpy().astype("uint8")
    return out


def chosen_tiles(result: Result, shown: int) -> list[int]:
    """Rows to show: the worst and the best by accuracy, and a draw spread over the biomes."""
    accuracy = np.array([scores(m)["oa"] for m in result.confusion[result.main]])
    order = np.argsort(np.where(np.isnan(accuracy), np.inf, accuracy), kind="stable")
    picked = [int(order[0]), int(order[int(np.isfinite(accuracy).sum()) - 1])] if shown >= 2 else []
    spread = result.table.groupby("biome", sort=True).cumcount()
    rest = np.lexsort((result.table["tile_id"].to_numpy(), result.table["biome"].to_numpy(), spread.to_numpy()))
    for row in rest:
        if len(set(picked)) >= min(shown, len(result.table)):
            break
        picked.append(int(row))
    return list(dict.fromkeys(picked))


def panels(data: TileDataset, row: int, checkpoint: Checkpoint) -> list[tuple[str, np.ndarray]]:
    """Sentinel-2, Sentinel-1, label, prediction, and where they differ, of one tile: names and uint8 (y, x, 3)."""
    raw = data.tile(row)
    said = predict(checkpoint, raw)
    return [("Sentinel-2", stretch.true_colour(raw.s2, data.s2_bands, unit=data.units[data.s2_bands[0]])),
            ("Sentinel-1", stretch.radar(decibels(raw.s1), unit=data.units[data.s1_bands[0]])),
            ("label", data.legend.pictured(raw.label)), ("prediction", data.legend.pictured(said)),
            ("differs from the label", colours.of_agreement(raw.label, said))]


def confusion_figure(matrix: np.ndarray, reference: Reference, names: Sequence[str]) -> Figure:
    """Of the pixels of each label, the share that the network maps as each class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axis = figure.subplots()
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(share):
        if np.isfinite(value):
            axis.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=8,
                      color="white" if value > 0.6 else "black")
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel(f"label: {reference.name}")
    axis.set_title("What the pixels of each label are mapped as, %")
    return figure


def class_figure(overall: dict[str, Any], legend: Legend) -> Figure:
    """IoU, precision and recall by class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    at = np.arange(len(legend))
    for i, (name, shade) in enumerate((("iou", 1.0), ("precision", 0.65), ("recall", 0.35))):
        values = [np.nan if v is None else 100 * v for v in overall[name]]
        axis.bar(at + (i - 1) * 0.27, values, 0.25, label=name if name != "iou" else "IoU", color=legend.colours,
                 alpha=shade, edgecolor="#444", linewidth=0.4)
    axis.set_xticks(at, colours.class_words(legend.classes), rotation=30, ha="right")
    axis.set_ylabel("%")
    axis.set_ylim(0, 100)
    axis.set_title("IoU, precision and recall (from dark to light); no bar: no such pixel")
    return figure


def group_figure(groups: dict[str, dict[str, Any]], title: str) -> Figure:
    """mIoU of groups with their intervals."""
    from matplotlib.figure import Figure

    names = list(groups)[::-1]
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(names)), layout="constrained")
    axis = figure.subplots()
    for y, name in enumerate(names):
        group = groups[name]
        if group["miou"] is None:
            continue
        low, high = group["interval"]["miou"]
        axis.plot(100 * group["miou"], y, "o", color="#397D49")
        if low is not None:
            axis.plot([100 * low, 100 * high], [y, y], color="#397D49")
    axis.set_yticks(range(len(names)), [f"{n[:50]} ({groups[n]['tiles']})" for n in names])
    axis.set_xlim(0, 100)
    axis.set_xlabel("mIoU, % (line: 95 % interval over spatial blocks; in brackets: tiles)")
    axis.set_title(title)
    return figure


def calibration_figure(found: dict[str, Any], reference: Reference) -> Figure:
    """Confidence against what comes of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999", linewidth=1)
    for name, part, colour in (("as trained", found, "#C4281B"),
                               ("with the run's temperature", found.get("after_temperature"), "#397D49")):
        if part is not None:
            pairs = [(c, a) for c, a in zip(part["confidence"], part["accuracy"], strict=True) if c is not None]
            axis.plot([c for c, _ in pairs], [a for _, a in pairs], "o-", color=colour, label=name)
    if "after_temperature" in found:
        axis.legend(loc="upper left", frameon=False)
    axis.set_xlabel("confidence")
    axis.set_ylabel(f"share of pixels that {reference.hits}")
    axis.set_title("Calibration")
    return figure


def picture(figure: Figure, dpi: int = 90) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _span(group: dict[str, Any]) -> str:
    low, high = group["interval"]["miou"]
    return "–" if low is None else f"{100 * low:.1f} to {100 * high:.1f}"


def _table(title: str, groups: dict[str, dict[str, Any]]) -> Any:
    rows = [[name, g["tiles"], g["blocks"], _percent(g["miou"]), _span(g), _percent(g["oa"]), _percent(g["macro_f1"]),
             _percent(g["kappa"]), g["present"]] for name, g in groups.items()]
    return charts.table((title, "tiles", "blocks", "mIoU", "95 %", "OA", "F1", "kappa", "classes"), rows)


def _classes(overall: dict[str, Any], legend: Legend) -> Any:
    rows = [[charts.named(colour, colours.words(name)),
             *(_percent(overall[key][i]) for key in ("iou", "precision", "recall"))]
            for i, (name, colour) in enumerate(zip(legend.classes, legend.colours, strict=True))]
    return charts.table(("class", "IoU", "precision", "recall"), rows)


def _tile(result: Result, row: int, checkpoint: Checkpoint) -> dict[str, Any]:
    """One tile beside its prediction."""
    at = result.table.iloc[row]
    one = scores(result.confusion[result.main][row])
    accuracy = _percent(None if np.isnan(one["oa"]) else one["oa"])
    shots = panels(result.sets[int(at["data"])], int(at["row"]), checkpoint)
    return {"shots": [(name, skeleton.image(shot, f"{name} of {at['tile_id']}",
                                            classes=not name.startswith("Sentinel"))) for name, shot in shots],
            # Imported tiles have neither biome nor dates.
            "words": f"{at['tile_id']}, biome {colours.biome_name(int(at['biome']))}, gap {at['gap_hours']:+.1f} h, "
                     f"clouds {at['s2_cloud']:.0f} %, OA {accuracy}" if at["biome"] else
                     f"{at['tile_id']}, OA {accuracy}"}


#: Groups of tiles that are scored apart: key of the metrics, its title.
GROUPS = {"by_modality": "shown", "by_gap_hours": "|S1 - S2|", "by_cloud": "cloudiness of the scene",
          "by_cloud_stratum": "stratum of cloud over the tile", "by_biome": "biome"}


@skeleton.plain_text()
def write_page(out: Path, found: dict[str, Any], result: Result, checkpoint: Checkpoint, shown: int) -> None:
    """Write the figures and ``index.html`` into a folder."""
    reference, legend = reference_of(found["label_sources"]), legend_of(found, "the evaluation")
    figures = {
        "confusion": confusion_figure(np.asarray(found["confusion"]), reference, colours.class_words(legend.classes)),
        "classes": class_figure(found["overall"], legend), "biomes": group_figure(found["by_biome"], "By biome"),
        "gap": group_figure(found["by_gap_hours"], "By gap between S1 and S2"),
        "cloud": group_figure(found["by_cloud"], "By cloudiness of the S2 scene"),
        "modality": group_figure(found["by_modality"], "By what the network is shown"),
        "calibration": calibration_figure(found["calibration"], reference)}
    drawn = {name: picture(figure) for name, figure in figures.items()}
    for name, png in drawn.items():
        (out / f"{name}.png").write_bytes(png)
    overall = found["overall"]
    facts = [(_percent(overall["miou"]), f"mIoU (95 %: {_span(overall)})"), (_percent(overall["oa"]), "OA"),
             (_percent(overall["macro_f1"]), "macro F1"), (_percent(overall["kappa"]), "kappa"),
             (str(overall["tiles"]), f"tiles in {overall['blocks']} blocks"),
             (f"{overall['pixels']:,}", "labelled pixels")]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    skeleton.write(
        out / "index.html", "evaluation.html", facts=facts, reference=reference, synthetic=found.get("synthetic", ""),
        title=f"{found['model']['name']} on {', '.join(found['stores'])}, split {found['split']}",
        sources=", ".join(found["label_sources"]), known={key: bool(found[key]) for key in GROUPS},
        drawn={name: skeleton.figure(png, name) for name, png in drawn.items()},
        tables={"classes": _classes(overall, legend),
                **{key: _table(title, found[key]) for key, title in GROUPS.items()}},
        reliability=sentence(found["reliability"]) if found["reliability"] else "",
        calibration=calibration_sentence(found),
        key=charts.key([*colours.class_words(legend.classes), "no label", "agrees", "differs"],
                       [*legend.colours, colours.NO_LABEL, colours.AGREES, colours.DIFFERS]),
        tiles=[_tile(result, row, checkpoint) for row in chosen_tiles(result, shown)], command=found["command"],
        made=f"{found['date']}, {found['machine']}; checkpoint {found['checkpoint']}, epoch {found['epoch']}; "
             f"{versions}.")
