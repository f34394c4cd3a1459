"""The page of an evaluation: figures, tables, and predictions beside labels. One file, nothing to fetch."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dwplus.report.charts import POLICY
from dwplus.store.layout import S1_NODATA, S1_SCALE, S2_NODATA
from dwplus.taxonomy import BIOMES, CLASSES, IGNORE, PALETTE
from model.checkpoint import Checkpoint
from model.data import Raw, TileDataset
from model.metrics import scores
from model.normalise import Normaliser
from model.reliability import sentence
from model.scoring import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em .7em;border-bottom:1px solid #ddd}
td,th{text-align:right}td:first-child,th:first-child{text-align:left}
img{max-width:100%}figure{margin:1em 0}figcaption{color:#555}
.key span{display:inline-block;margin-right:1em}.key i{display:inline-block;width:1em;height:1em;margin-right:.3em;
vertical-align:-.1em;border:1px solid #999}.big{font-size:1.3em}"""


def colours(label: np.ndarray) -> np.ndarray:
    """Classes (y, x) to uint8 (y, x, 3) in Dynamic World's palette; no label is white."""
    table = np.full((256, 3), 255, "uint8")
    table[:len(PALETTE)] = [[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in PALETTE]
    out: np.ndarray = table[label]
    return out


def optical_picture(s2: np.ndarray, bands: tuple[str, ...]) -> np.ndarray:
    """True colour where B4, B3, B2 are there, else the first three bands; uint8 (y, x, 3)."""
    wanted = [bands.index(b) for b in ("B4", "B3", "B2")] if {"B4", "B3", "B2"} <= set(bands) else list(range(3))
    chosen = s2[[min(i, len(bands) - 1) for i in wanted]].astype("float32")
    chosen[:, (s2 == S2_NODATA).any(axis=0)] = np.nan
    return stretched(chosen)


def radar_picture(s1: np.ndarray) -> np.ndarray:
    """VV, VH, VV - VH as red, green, blue; uint8 (y, x, 3)."""
    if s1.dtype.kind != "f":
        s1 = np.where(s1 == S1_NODATA, np.nan, s1 * np.float32(S1_SCALE))
    first, second = s1[0], s1[min(1, len(s1) - 1)]
    return stretched(np.stack([first, second, first - second]))


def stretched(x: np.ndarray) -> np.ndarray:
    """(3, y, x) to uint8 (y, x, 3) between the 2nd and 98th percentile of each band; no data is grey."""
    out = np.full((*x.shape[1:], 3), 128, "uint8")
    for i, band in enumerate(x):
        good = np.isfinite(band)
        if good.any():
            low, high = np.percentile(band[good], [2, 98])
            out[good, i] = np.clip((band[good] - low) / max(high - low, 1e-6) * 255, 0, 255).astype("uint8")
    return out


def error_picture(label: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Right is light, wrong is red, no label is white."""
    out = np.full((*label.shape, 3), 255, "uint8")
    known = label != IGNORE
    out[known & (label == said)] = (214, 228, 214)
    out[known & (label != said)] = (190, 30, 45)
    return out


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


def tile_figure(data: TileDataset, place: int, checkpoint: Checkpoint) -> Figure:
    """Sentinel-2, Sentinel-1, label, prediction and errors of one tile, side by side."""
    from matplotlib.figure import Figure

    raw = data.tile(place)
    said = predict(checkpoint, raw)
    panels = (("Sentinel-2", optical_picture(raw.s2, data.s2_bands)), ("Sentinel-1", radar_picture(raw.s1)),
              ("label", colours(raw.label)), ("prediction", colours(said)), ("wrong", error_picture(raw.label, said)))
    figure = Figure(figsize=(15, 3.2), layout="constrained")
    for axis, (title, picture) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    return figure


def confusion_figure(matrix: np.ndarray) -> Figure:
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
    axis.set_xticks(range(len(CLASSES)), CLASSES, rotation=45, ha="right")
    axis.set_yticks(range(len(CLASSES)), CLASSES)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title("Where the pixels of each true class go, %")
    return figure


def class_figure(overall: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(CLASSES))
    for i, (name, shade) in enumerate((("iou", 1.0), ("precision", 0.65), ("recall", 0.35))):
        values = [np.nan if v is None else 100 * v for v in overall[name]]
        axis.bar(place + (i - 1) * 0.27, values, 0.25, label=name if name != "iou" else "IoU", color=PALETTE,
                 alpha=shade, edgecolor="#444", linewidth=0.4)
    axis.set_xticks(place, CLASSES, rotation=30, ha="right")
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


def calibration_figure(found: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axis = figure.subplots()
    pairs = [(c, a) for c, a in zip(found["confidence"], found["accuracy"], strict=True) if c is not None]
    axis.plot([0, 1], [0, 1], color="#999", linewidth=1)
    axis.plot([c for c, _ in pairs], [a for _, a in pairs], "o-", color="#C4281B")
    axis.set_xlabel("confidence")
    axis.set_ylabel("share of right pixels")
    axis.set_title("Calibration")
    return figure


def picture(figure: Figure, dpi: int = 90) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _img(data: bytes, text: str) -> str:
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _table(title: str, groups: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, g in groups.items():
        low, high = g["interval"]["miou"]
        span = "–" if low is None else f"{100 * low:.1f} to {100 * high:.1f}"
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{g['tiles']}</td><td>{g['blocks']}</td>"
                    f"<td>{_percent(g['miou'])}</td><td>{span}</td><td>{_percent(g['oa'])}</td>"
                    f"<td>{_percent(g['macro_f1'])}</td><td>{_percent(g['kappa'])}</td><td>{g['present']}</td></tr>")
    return (f"<table><tr><th>{html.escape(title)}</th><th>tiles</th><th>blocks</th><th>mIoU</th><th>95 %</th>"
            f"<th>OA</th><th>F1</th><th>kappa</th><th>classes</th></tr>{''.join(rows)}</table>")


def write_page(out: Path, found: dict[str, Any], result: Result, checkpoint: Checkpoint, shown: int) -> None:
    """Write the figures and ``index.html`` into a folder."""
    figures = {
        "confusion": confusion_figure(np.asarray(found["confusion"])), "classes": class_figure(found["overall"]),
        "biomes": group_figure(found["by_biome"], "By biome"), "gap": group_figure(found["by_gap_hours"],
                                                                                  "By gap between S1 and S2"),
        "cloud": group_figure(found["by_cloud"], "By cloudiness of the S2 scene"),
        "modality": group_figure(found["by_modality"], "By what the network is shown"),
        "calibration": calibration_figure(found["calibration"])}
    drawn = {name: picture(figure) for name, figure in figures.items()}
    for name, png in drawn.items():
        (out / f"{name}.png").write_bytes(png)
    key = "".join(f'<span><i style="background:{c}"></i>{html.escape(n)}</span>'
                  for n, c in zip(CLASSES, PALETTE, strict=True))
    tiles = []
    for row in chosen_tiles(result, shown):
        at = result.table.iloc[row]
        data = result.sets[int(at["data"])]
        one = scores(result.confusion[result.main][row])
        accuracy = _percent(None if np.isnan(one["oa"]) else one["oa"])
        words = (f"{at['tile_id']}, biome {at['biome']} {BIOMES.get(int(at['biome']), '')}, gap "
                 f"{at['gap_hours']:+.1f} h, clouds {at['s2_cloud']:.0f} %, OA {accuracy}")
        shot = picture(tile_figure(data, int(at["place"]), checkpoint), 70)
        tiles.append(f"<figure>{_img(shot, words)}<figcaption>{html.escape(words)}</figcaption></figure>")
    overall = found["overall"]
    low, high = overall["interval"]["miou"]
    span = "" if low is None else f" (95 %: {100 * low:.1f} to {100 * high:.1f})"
    title = f"{found['model']['name']} on {', '.join(found['stores'])}, split {found['split']}"
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class='big'>mIoU <b>{_percent(overall['miou'])}</b>{span}, OA <b>{_percent(overall['oa'])}</b>, macro F1 "
        f"<b>{_percent(overall['macro_f1'])}</b>, kappa {_percent(overall['kappa'])}; {overall['tiles']} tiles in "
        f"{overall['blocks']} blocks, {overall['pixels']:,} labelled pixels.</p>",
        f"<p>Labels: {html.escape(', '.join(found['label_sources']))}. Means run over the classes that have true "
        "pixels; a class without any does not count as zero. Intervals: whole spatial blocks drawn again, 1 in 40 "
        "outside at either end; none where there is one block.</p>",
        "<h2>Classes</h2>", _img(drawn["classes"], "classes"), _img(drawn["confusion"], "confusion matrix"),
        "<h2>What the network is shown</h2>", _table("shown", found["by_modality"]),
        _img(drawn["modality"], "by modality"),
        "<h2>Gap between Sentinel-1 and Sentinel-2</h2>", _table("|S1 - S2|", found["by_gap_hours"]),
        _img(drawn["gap"], "by gap"),
        "<h2>Cloudiness</h2>", _table("cloudiness of the scene", found["by_cloud"]), _img(drawn["cloud"], "by cloud"),
        _table("stratum of cloud over the tile", found["by_cloud_stratum"]),
        *([f"<p>{html.escape(sentence(found['reliability']))}.</p>"] if found["reliability"] else []),
        "<h2>Biomes</h2>", _table("biome", found["by_biome"]), _img(drawn["biomes"], "by biome"),
        f"<h2>Calibration</h2><p>Expected calibration error {_percent(found['calibration']['ece'])} points.</p>",
        _img(drawn["calibration"], "calibration"),
        f"<h2>Predictions beside labels</h2><p>The worst tile, the best, and a spread over the biomes.</p>"
        f"<p class='key'>{key}</p>", *tiles,
        f"<h2>How this was made</h2><p><code>{html.escape(found['command'])}</code><br>{html.escape(found['date'])}, "
        f"{html.escape(found['machine'])}; checkpoint {html.escape(found['checkpoint'])}, epoch {found['epoch']}; "
        f"{html.escape(', '.join(f'{k} {v}' for k, v in found['versions'].items()))}.</p>"]
    page = (f"<!doctype html><html lang='en'><meta charset='utf-8'>{POLICY}<title>{html.escape(title)}</title>"
            f"<style>{STYLE}</style><body>{''.join(sections)}</body></html>\n")
    (out / "index.html").write_text(page, encoding="utf-8")
