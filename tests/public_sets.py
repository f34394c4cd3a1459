"""Folders that imitate the layouts of public data sets: names, types, odd sizes and odd files, made by code.

What is not established of a set (facts, ``NE``) is marked where it is chosen here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

#: Sheets of three rows of the published list; the last is a column short, as eleven of the published ones.
WHU_SHEETS = ("NH49E001013", "NH49E001014", "NH49E010015", "NH50E004003", "NI49E022020")
#: Size of the imitated scenes: a hundredth of the published 5556 x 3704, odd in the same way.
WHU_SIZE = (90, 134)


def write(path: Path, values: np.ndarray, utm: tuple[int, float, float] | None = None, **more: Any) -> None:
    """A GeoTIFF of (band, y, x) or (y, x); ``utm`` = EPSG code and upper left corner, pixels of 10 m."""
    values = values if values.ndim == 3 else values[None]
    placed = {"crs": f"EPSG:{utm[0]}", "transform": from_origin(utm[1], utm[2], 10, 10)} if utm else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
                       dtype=values.dtype, **placed, **more) as raster:
        raster.write(values)


def blocks(rng: np.random.Generator, shape: tuple[int, int], codes: list[int], cell: int = 12) -> np.ndarray:
    """A label of square fields, uint8; every code occurs."""
    rows, columns = -(-shape[0] // cell), -(-shape[1] // cell)
    fields = rng.choice(codes, (rows, columns))
    fields.reshape(-1)[:len(codes)] = codes[:fields.size]
    return np.kron(fields, np.ones((cell, cell)))[:shape[0], :shape[1]].astype("uint8")


def look_of(rng: np.random.Generator, label: np.ndarray, bands: int, low: float, high: float) -> np.ndarray:
    """Values (band, y, x) that tell the classes apart, in [low, high]."""
    means = np.linspace(0.15, 0.85, int(label.max()) + 1)
    tilt = np.linspace(-0.1, 0.1, bands)[:, None, None]
    noise = rng.normal(0, 0.03, (bands, *label.shape))
    return low + (high - low) * np.clip(means[label][None] * (1 + tilt) + noise, 0.02, 0.98)


def whu(root: Path, sheets: tuple[str, ...] = WHU_SHEETS, division: bool = True, optical: str = "image") -> Path:
    """``whu-opt-sar``: 4 bands blue, green, red, NIR; 1 radar band; codes 0, 10 to 70."""
    rng = np.random.default_rng(1)
    for number, name in enumerate(sheets):
        shape = (WHU_SIZE[0], WHU_SIZE[1] - (number == len(sheets) - 1))
        label = blocks(rng, shape, [10, 20, 30, 40, 50, 60, 70, 0])
        place = label // 10
        write(root / optical / f"{name}.tif", look_of(rng, place, 4, 0, 255).astype("uint8"))
        write(root / "sar" / f"{name}.tif", look_of(rng, place, 1, 0, 255).astype("uint8"))
        write(root / "lbl" / f"{name}.tif", label)
    if division:
        names = "\n".join(sheets[:-1])
        (root / "The division of the dataset.txt").write_text(f"train:\n{names}\ntest:\n{sheets[-1]}\n")
    return root


def pie(root: Path, count: int = 6) -> Path:
    """``pie-rgb-sar``: 256 px (here 64), RGB, one radar band, codes 0 to 5, lists of stems."""
    rng = np.random.default_rng(2)
    names = [f"{i:05d}" for i in range(count)]
    for name in names:
        label = blocks(rng, (64, 64), list(range(6)))
        write(root / "rgb" / f"{name}.tif", look_of(rng, label, 3, 0, 255).astype("uint8"))
        write(root / "sar" / f"{name}.tif", look_of(rng, label, 1, 0, 255).astype("uint8"))
        write(root / "label" / f"{name}.tif", label)
    (root / "train.txt").write_text("\n".join(names[:-2]) + "\n")
    (root / "val.txt").write_text("\n".join(names[-2:]) + "\n")
    return root


def oem(root: Path, count: int = 6) -> Path:
    """``openearthmap-sar``: train with all, test with radar alone; sizes differ (1024 and 672, here 128 and 84)."""
    rng = np.random.default_rng(3)
    for number in range(count):
        shape = (128, 128) if number else (84, 100)
        label = blocks(rng, shape, list(range(9)))
        name = f"TrainArea_{number:03d}.tif"
        write(root / "train/rgb_images" / name, look_of(rng, label, 3, 0, 255).astype("uint8"))
        write(root / "train/sar_images" / name, look_of(rng, label, 1, 0, 120).astype("uint8"))
        write(root / "train/labels" / name, label)
    for part in ("val", "test"):  # names there are not established
        write(root / part / "sar_images" / f"{part}_000.tif", np.full((1, 128, 128), 40, "uint8"))
    return root


def _sentinel(rng: np.random.Generator, label: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Optics in DN, radar in dB (VV, VH)."""
    s2 = look_of(rng, label, bands, 300, 4000).astype("uint16")
    s1 = look_of(rng, label, 2, -24, -5).astype("float32")
    s1[1] -= 6
    return s2, s1


def dfc2020(root: Path, patches: int = 3) -> Path:
    """``dfc2020``: two folders, s1, s2 and dfc; 256 px (here 64); codes 1 to 10 without 3 and 8."""
    rng = np.random.default_rng(4)
    for season, scene in (("validation", "validation"), ("test", "0")):
        top = root / f"ROIs0000_{season}"
        for number in range(patches):
            label = blocks(rng, (64, 64), [1, 2, 4, 5, 6, 7, 9, 10])
            s2, s1 = _sentinel(rng, label, 13)
            utm = (32633, 400_000.0 + 640 * number, 5_300_000.0)
            for word, values in (("s2", s2), ("s1", s1), ("dfc", label), ("lc", np.stack([label] * 4))):
                write(top / f"{word}_{scene}" / f"ROIs0000_{season}_{word}_{scene}_p{number}.tif", values, utm)
    return root


def sen12ms(root: Path, scenes: tuple[int, ...] = (1, 7, 44), patches: int = 2) -> Path:
    """``sen12ms``: four MODIS bands, of which the first holds IGBP 1 to 17."""
    rng = np.random.default_rng(5)
    for scene in scenes:
        for number in range(patches):
            label = blocks(rng, (64, 64), [1, 5, 7, 9, 10, 11, 12, 13, 16, 17])
            s2, s1 = _sentinel(rng, label, 13)
            utm = (32650, 500_000.0 + 10_000 * scene, 3_400_000.0 - 320 * number)
            for word, values in (("s2", s2), ("s1", s1), ("lc", np.stack([label, label, label, label]))):
                name = f"ROIs1158_spring_{word}_{scene}_p{30 + number}.tif"
                write(root / "ROIs1158_spring" / f"{word}_{scene}" / name, values, utm)
    return root


def cloudlulc(root: Path, count: int = 9, first_code: int = 1, delimiter: str = ",", header: bool = True,
              scale: float = 1.0, linear: bool = False) -> Path:
    """``cloudlulc-set``; what is not established, and so chosen here: type and scale of the optics, unit of the radar,
    codes, delimiter and header."""
    rng = np.random.default_rng(6)
    lines: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for number in range(count):
        roi = number // 3 + 1
        name = f"patch_ROIs_{roi:02d}_p_{number:04d}.tif"
        label = blocks(rng, (64, 64), list(range(first_code, first_code + 6)))
        s2, s1 = _sentinel(rng, label, 12)
        clear = s2 if scale == 1.0 else (s2 * scale).astype("float32")
        cloudy = clear.copy()
        cloudy[:, :20, :20] = 9000 * scale
        radar = (10 ** (s1 / 10)).astype("float32") if linear else s1
        for folder, values in (("SAR_S1/VH", radar[1]), ("SAR_S1/VV", radar[0]), ("Opt_S2_cloudy", cloudy),
                               ("Opt_S2_clear", clear), ("Label", label)):
            write(root / folder / name, values)
        lines[min(roi, 3)].append(delimiter.join([str(min(roi, 3)), name, name, name, name, name]))
    (root / "split").mkdir(exist_ok=True)
    columns = delimiter.join(["split_id", "sar_vh", "sar_vv", "opt_cloudy", "opt_clear", "label"])
    for number, word in ((1, "train"), (2, "val"), (3, "test")):
        text = [columns, *lines[number]] if header else lines[number]
        (root / "split" / f"{word}.csv").write_text("\n".join(text) + "\n")
    return root


def mmearth(root: Path, count: int = 8, name: str = "data_100k_v001_64") -> Path:
    """``mmearth``: one HDF5, B8A before B8, L2A tiles without B10, radar of one pass missing as -inf."""
    import h5py

    rng = np.random.default_rng(7)
    side, info = 64, {}
    s2, s1 = np.zeros((count, 13, side, side), "uint16"), np.full((count, 8, side, side), -np.inf, "float32")
    world, cover = np.zeros((count, 1, side, side), "uint8"), np.zeros((count, 1, side, side), "uint8")
    codes = np.array([255, 80, 10, 30, 90, 40, 20, 50, 60, 70], "uint8")
    for i in range(count):
        label = blocks(rng, (side, side), list(range(10)))
        world[i, 0], cover[i, 0] = label, codes[label]
        optical, radar = _sentinel(rng, label, 13)
        optical[7], optical[8] = 800 + 100 * label.astype("uint16"), 2000 + 100 * label.astype("uint16")  # B8A, then B8
        product = "l2a" if i % 2 else "l1c"
        if product == "l2a":
            optical[10] = 0
        s2[i] = optical
        s1[i, 4 * (i % 2):4 * (i % 2) + 2] = radar
        info[f"tile_{i:04d}"] = {"lat": 10.0 + i, "lon": 20.0 + i, "CRS": "EPSG:32634", "S2_type": product,
                                 "S2_DATE": "20190701"}
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / f"{name}.h5", "w") as file:
        for key, values in (("sentinel2", s2), ("sentinel1", s1), ("dynamic_world", world), ("esa_worldcover", cover)):
            file.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
        file.create_dataset("metadata", data=np.array([(tile.encode(),) for tile in info], [("name", "S20")]))
    (root / f"{name}_tile_info.json").write_text(json.dumps(info))
    rows = list(range(count))
    (root / f"{name}_splits.json").write_text(json.dumps({"train": rows[:-3], "val": rows[-3:-1], "test": rows[-1:]}))
    (root / f"{name}_band_stats.json").write_text("{}")
    return root


def own(root: Path, count: int = 6) -> Path:
    """``folder``: a user's own set, told by import.yaml."""
    rng = np.random.default_rng(8)
    for number in range(count):
        label = blocks(rng, (64, 64), [0, 3, 7])
        s2, s1 = _sentinel(rng, label, 4)
        write(root / "optical" / f"field_{number // 2}_{number}.tif", (s2 / 10_000).astype("float32"))
        for band, values in zip(("VV", "VH"), s1, strict=True):
            write(root / "sar" / band / f"field_{number // 2}_{number}_{band}.tif", 10 ** (values / 10))
        write(root / "masks" / f"field_{number // 2}_{number}.png.tif", label)
    (root / "import.yaml").write_text("""name: my-fields
optical: {pattern: 'optical/{name}.tif', bands: [B2, B3, B4, B8], unit: reflectance, scale: 10000}
radar: {pattern: {VV: 'sar/VV/{name}_VV.tif', VH: 'sar/VH/{name}_VH.tif'}, unit: linear}
label: {pattern: 'masks/{name}.png.tif', codes: {0: ignore, 3: maize, 7: wheat}}
scene: '(field_\\d+)_'
splits: random
""")
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    "whu-opt-sar": whu, "pie-rgb-sar": pie, "openearthmap-sar": oem, "dfc2020": dfc2020, "sen12ms": sen12ms,
    "cloudlulc-set": cloudlulc, "mmearth": mmearth, "folder": own}
