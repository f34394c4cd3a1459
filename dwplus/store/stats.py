"""Statistics of the bands of a store, in one pass over its shards, and the ways networks scale what they see.

Every stored value is counted: 65,536 bins a band hold integers exactly, so that means, percentiles and histograms
follow from one read, in any order, with memory that does not grow with the store.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.store import layout, seal, writer
from dwplus.store.legend import DECIBEL, DISPLAY, RADAR_UNITS, refuse_display, units_of
from dwplus.store.locks import only_run
from dwplus.store.places import place_of
from dwplus.store.reader import tile_table
from dwplus.store.shards import AbsentError, DamageError, ShardFormat

#: Distinct values of a 16-bit band.
VALUES = 65_536
#: Bars of a stored histogram, at most.
BARS = 64
#: Ways to scale a band for a network; see :func:`normalise`.
SCHEMES = ("clip-standardise", "standardise", "minmax", "log-sigmoid", "dynamic-world")
#: Dynamic World's own 30th and 70th percentile of ln(0.005 x DN + 1), of the nine bands its network takes.
#: Source: the notebook of github.com/google/dynamicworld.
DYNAMIC_WORLD = {
    "B2": (1.7417268007636313, 2.023298706048351), "B3": (1.7261204997060209, 2.038905204308012),
    "B4": (1.6798346251414997, 2.179592821212937), "B5": (1.7734969472909623, 2.2890068333026603),
    "B6": (2.289154079164943, 2.6171674549378166), "B7": (2.382939712192371, 2.773418590375327),
    "B8": (2.3828939530384052, 2.7578332604178284), "B11": (2.1952484264967844, 2.789092484314204),
    "B12": (1.554812948247501, 2.4140534947492487)}
#: Keys of the store's root attributes: the statistics of a split, and those of other choices of its tiles (a draw,
#: tiles under a filter), of which the last few are kept.
KEY, CHOICES = "statistics", "statistics_of_choices"
KEPT_CHOICES = 4


@dataclass(frozen=True)
class BandStatistics:
    """One band over the pixels that have data.

    Attributes
    ----------
    name : of the band. unit : ``DN`` (reflectance x 10000), ``dB``, ``degree`` (incidence angle), or ``grey`` (values
        for display).
    count, nodata : pixels with and without data.
    mean, std, low, high : of the values as they are (std of the population).
    p1, p99 : 1st and 99th percentile: the least stored value that at least so large a share does not exceed.
    clipped_mean, clipped_std : of the values clipped to [p1, p99].
    log_p30, log_p70 : 30th and 70th percentile of ln(0.005 x DN + 1), Dynamic World's scale; None for radar.
    edges, histogram : counts of equal bins between the first and the last edge, which hold all of [p1, p99]; what lies
        outside is counted in the outer bins.
    """

    name: str
    unit: str
    count: int
    nodata: int
    mean: float
    std: float
    low: float
    high: float
    p1: float
    p99: float
    clipped_mean: float
    clipped_std: float
    log_p30: float | None
    log_p70: float | None
    edges: tuple[float, float]
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Statistics:
    """Bands of a store over the exported tiles of a split.

    Attributes
    ----------
    split : ``train``, ``val``, ``test`` or ``all``. tiles : how many were read.
    digest : of the tiles and their scenes, in hexadecimal: other tiles, other digest.
    s2, s1 : by band, in the store's order.
    """

    split: str
    tiles: int
    digest: str
    s2: tuple[BandStatistics, ...]
    s1: tuple[BandStatistics, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON would have it."""
        out: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return out

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Statistics:
        """Inverse of :meth:`to_dict`."""
        def band(one: dict[str, Any]) -> BandStatistics:
            return BandStatistics(**{**one, "edges": tuple(one["edges"]), "histogram": tuple(one["histogram"])})

        return cls(found["split"], found["tiles"], found["digest"], tuple(map(band, found["s2"])),
                   tuple(map(band, found["s1"])))


def count_values(pixels: np.ndarray, into: np.ndarray) -> None:
    """Add the values of one tile to the counts.

    Parameters
    ----------
    pixels : (band, y, x); uint16, int16, or float32 dB with NaN = no data, which is counted in hundredths.
    into : int64 (band, 65536), changed; integers are counted at their value, int16 at value + 32768.
    """
    if pixels.dtype.kind == "f":
        steps = np.clip(np.round(pixels / np.float32(layout.S1_SCALE)), -32767, 32767)
        pixels = np.where(np.isfinite(pixels), steps, layout.S1_NODATA).astype("int16")
    if pixels.dtype.kind == "i":
        # Adding 32768 to a 16-bit number turns its sign bit.
        pixels = pixels.astype("<i2", copy=False).view("<u2") ^ np.uint16(32768)
    for counts, band in zip(into, pixels, strict=True):
        counts += np.bincount(band.ravel(), minlength=VALUES)


def band_statistics(counts: np.ndarray, name: str, sensor: str, unit: str = "") -> BandStatistics:
    """The statistics that follow from counts.

    Parameters
    ----------
    counts : int64 (65536,), as :func:`count_values` gives them. sensor : ``s2`` or ``s1``. unit : of the store's
        ``band_units``; ``display`` for grey values, of which no reflectance follows.
    """
    radar, grey = sensor == "s1", unit == DISPLAY
    unit = "grey" if grey else RADAR_UNITS.get(name, DECIBEL) if radar else "DN"
    nodata_bin = layout.S1_NODATA + 32768 if radar else layout.S2_NODATA
    values = (np.arange(VALUES) - 32768) * layout.S1_SCALE if radar else np.arange(VALUES, dtype="float64")
    counts = counts.copy()
    nodata, counts[nodata_bin] = int(counts[nodata_bin]), 0
    total = int(counts.sum())
    if not total:
        nan = math.nan
        return BandStatistics(name, unit, 0, nodata, nan, nan, nan, nan, nan, nan, nan, nan, None, None,
                              (0.0, 1.0), (0,))
    running = counts.cumsum()

    def percentile(share: float) -> float:
        return float(values[np.searchsorted(running, math.ceil(share * total))])

    def moments(x: np.ndarray) -> tuple[float, float]:
        mean = float((x * counts).sum() / total)
        return mean, math.sqrt(float(((x - mean) ** 2 * counts).sum() / total))

    there = np.flatnonzero(counts)
    low, high = float(values[there[0]]), float(values[there[-1]])
    p1, p99 = percentile(0.01), percentile(0.99)
    edges, histogram = _histogram(values, counts, p1, p99, layout.S1_SCALE if radar else 1.0)
    mean, std = moments(values)
    clipped_mean, clipped_std = moments(np.clip(values, p1, p99))
    p30, p70 = (None if radar or grey else math.log(0.005 * percentile(share) + 1) for share in (0.3, 0.7))
    return BandStatistics(name, unit, total, nodata, mean, std, low, high, p1, p99, clipped_mean, clipped_std, p30, p70,
                          edges, histogram)


def _histogram(values: np.ndarray, counts: np.ndarray, p1: float, p99: float,
               step: float) -> tuple[tuple[float, float], tuple[int, ...]]:
    """Bins of whole steps from a little below p1 to a little above p99."""
    margin = 0.05 * (p99 - p1)
    first = max(math.floor((p1 - margin - values[0]) / step), 0)
    last = min(math.ceil((p99 + margin - values[0]) / step), VALUES - 1)
    wide = max(1, math.ceil((last - first + 1) / BARS))
    bars = math.ceil((last - first + 1) / wide)
    bar = np.clip((np.arange(VALUES) - first) // wide, 0, bars - 1)
    found = np.bincount(bar, counts, minlength=bars).astype("int64")
    start = float(values[first] - step / 2)
    return (round(start, 6), round(start + bars * wide * step, 6)), tuple(map(int, found))


def _count_shards(store: str, jobs: list[tuple[str, int, list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Counts of some shards, (s2, s1); each job is a group, a shard's number, and the rows of tiles in it."""
    root = layout.open_root(store)
    formats: dict[str, dict[str, ShardFormat]] = {}
    sums: dict[str, np.ndarray] = {}
    for name, shard, rows in jobs:
        if name not in formats:
            formats[name] = writer.formats(store, layout.group_of(root, name))
        for sensor in ("s2", "s1"):
            form = formats[name][sensor]
            into = sums.setdefault(sensor, np.zeros((form.shape[0], VALUES), "int64"))
            try:
                packed = form.read(shard)
                for row in rows:
                    if packed[row] is None:
                        raise AbsentError(f"tile {shard * form.tiles + row} is missing, though it was exported")
                    count_values(form.unpack(packed[row]), into)
            except (DamageError, OSError) as error:
                mend = getattr(error, "mend", DamageError.mend)
                raise InputError(f"store {store}: {name}/{form.name}/{form.key(shard)}: {error}; run dwplus {mend} "
                                 f"{store}") from None
    return sums["s2"], sums["s1"]


def _add(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first, *rest = parts
    s2, s1 = first[0].copy(), first[1].copy()
    for other in rest:
        s2 += other[0]
        s1 += other[1]
    return s2, s1


def _of_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = table[table["status"] == "exported"]
    return rows if split == "all" else rows[rows["split"] == split]


def digest(rows: pd.DataFrame) -> str:
    """What tiles, from what scenes: changes when any does, not with their order."""
    columns = ["tile_id", "window", "label_id", "s2_id", "s1_id"]
    keys = sorted("|".join(map(str, row)) for row in rows[columns].to_numpy())
    return hashlib.blake2b("\n".join(keys).encode(), digest_size=16).hexdigest()


def measure(store: str | Path, split: str = "train", *, max_tiles: int | None = None, seed: int = 0,
            scheduler: str = "threads", progress: Callable[[int, int], None] = lambda *_: None) -> Statistics:
    """Read the exported tiles of a split once and give their statistics; the store is not changed.

    Parameters
    ----------
    split : ``train``, ``val``, ``test`` or ``all``.
    max_tiles : read a seeded draw of at most so many.
    scheduler : of Dask: ``threads``, ``processes``, ``sync``; with a ``distributed.Client`` at hand, its cluster.
    progress : called with (shards done, shards).

    Raises
    ------
    InputError
        Where the split has no exported tile, or a shard is damaged.
    """
    from dask.base import compute
    from dask.delayed import delayed

    if split not in (*layout.SPLITS, "all"):
        raise InputError(f"split {split!r}: must be one of {', '.join(layout.SPLITS)}, all")
    rows = _of_split(tile_table(store), split)
    if not len(rows):
        raise InputError(f"store {store}: has no exported tile in split {split}")
    if max_tiles is not None and len(rows) > max_tiles:
        rows = rows.iloc[np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_tiles])]
    root = layout.open_root(store)
    size = {name: writer.formats(store, root[name])["s2"].tiles  # type: ignore[arg-type]
            for name in rows["group"].unique()}
    shards = [(str(group), int(shard), [int(i) % size[group] for i in part["index"]])
              for group, inside in rows.groupby("group")
              for shard, part in inside.groupby(inside["index"] // size[group])]
    # A few shards a task: the counts of a task are 6 MB, and as many tasks as cores run at a time.
    step = max(1, min(8, len(shards) // (2 * (os.cpu_count() or 1))))
    bundles = [shards[i:i + step] for i in range(0, len(shards), step)]
    total: tuple[np.ndarray, np.ndarray] | None = None
    wave = 4 * (os.cpu_count() or 1)
    count, add = delayed(_count_shards), delayed(_add)
    chosen = {} if scheduler == "distributed" else {"scheduler": scheduler}
    for i in range(0, len(bundles), wave):
        parts = [count(str(store), bundle) for bundle in bundles[i:i + wave]]
        (found,) = compute(add(parts), **chosen)
        total = found if total is None else _add([total, found])
        progress(min(len(shards), (i + wave) * step), len(shards))
    assert total is not None
    group = root[str(rows["group"].iat[0])]
    bands = {sensor: [str(b) for b in np.asarray(group[f"{sensor}_band"])] for sensor in ("s2", "s1")}  # type: ignore[index]
    unit = units_of(root.attrs.asdict(), bands["s2"], bands["s1"])
    s2, s1 = (tuple(band_statistics(c, name, sensor, unit[name]) for c, name in zip(counts, bands[sensor], strict=True))
              for counts, sensor in zip(total, ("s2", "s1"), strict=True))
    return Statistics(split, len(rows), digest(rows), s2, s1)


def stored(store: str | Path, table: pd.DataFrame | None = None) -> Statistics | None:
    """The statistics a store keeps; None where it has none, or other tiles were exported since.

    Parameters
    ----------
    table : of :func:`dwplus.store.reader.tile_table`, where it is at hand.
    """
    found: Any = layout.open_root(store).attrs.asdict().get(KEY)
    if not isinstance(found, dict):
        return None
    try:
        kept = Statistics.from_dict(found)
    except (KeyError, TypeError):
        return None
    rows = _of_split(tile_table(store) if table is None else table, kept.split)
    return kept if digest(rows) == kept.digest else None


def kept_for(store: str | Path, rows: pd.DataFrame, s2_bands: Sequence[str], s1_bands: Sequence[str],
             ) -> Statistics | None:
    """The statistics a store keeps of just these tiles and bands; None where it has none.

    Parameters
    ----------
    rows : of :func:`dwplus.store.reader.tile_table`. s2_bands, s1_bands : names, in the store's order.
    """
    attrs = layout.open_root(store).attrs.asdict()
    choices: Any = attrs.get(CHOICES)
    return matching([attrs.get(KEY), *(choices if isinstance(choices, list) else [])], rows, s2_bands, s1_bands)


def matching(found: Iterable[Any], rows: pd.DataFrame, s2_bands: Sequence[str], s1_bands: Sequence[str],
             ) -> Statistics | None:
    """Of statistics as JSON has them, those that were measured on these tiles and bands; None without any."""
    wanted: str | None = None
    for one in found:
        try:
            kept = Statistics.from_dict(one)
        except (KeyError, TypeError):
            continue
        wanted = wanted or digest(rows)
        names = [b.name for b in kept.s2], [b.name for b in kept.s1]
        if (kept.digest, kept.tiles, names) == (wanted, len(rows), (list(s2_bands), list(s1_bands))):
            return kept
    return None


def keep(store: str | Path, found: Statistics, table: pd.DataFrame | None = None) -> None:
    """Keep statistics of any choice of a store's tiles: as the store's own where it has none and they are of a whole
    split, else beside them.

    Raises
    ------
    InputError
        As :func:`store_statistics`.
    """
    table = tile_table(store) if table is None else table
    if digest(_of_split(table, found.split)) == found.digest and stored(store, table) is None:
        store_statistics(store, found)
    else:
        _write_attribute(store, CHOICES, found)


def store_statistics(store: str | Path, found: Statistics) -> None:
    """Keep statistics in the store's root attributes; no other file of the store is touched.

    Raises
    ------
    InputError
        Where another run writes the store, or it cannot be written.
    """
    _write_attribute(store, KEY, found)


def _write_attribute(store: str | Path, key: str, found: Statistics) -> None:
    layout.open_root(store)
    place = place_of(store)
    with only_run(store) as hold:
        meta = json.loads(place.read("zarr.json"))
        values, attrs = found.to_dict(), meta["attributes"]
        if key == CHOICES:
            before = attrs[key] if isinstance(attrs.get(key), list) else []
            attrs[key] = [values, *(one for one in before if one.get("digest") != found.digest)][:KEPT_CHOICES]
        else:
            attrs[key] = values
        try:
            seal.reseal(meta)
            content = seal.to_bytes(meta)
            hold.check()
            place.write("zarr.json", [content])
        except ValueError:
            raise InputError(f"store {store}: a band holds no data at all; nothing was stored") from None
        except OSError as error:
            raise InputError(f"store {store}: cannot be written ({error.strerror or error})") from None


def normalise(pixels: np.ndarray, bands: tuple[BandStatistics, ...], scheme: str = "clip-standardise") -> np.ndarray:
    """Stored pixels as a network wants them; 0 where there is no data.

    Schemes: ``clip-standardise``, clipped to [p1, p99], minus their mean, over their standard deviation (the Dynamic
    World+ paper's); ``standardise``, the same without clipping; ``minmax``, [p1, p99] to [0, 1], clipped;
    ``log-sigmoid``, Dynamic World's for Sentinel-2, sigmoid(5 z - 1) with z = (ln(0.005 DN + 1) - p30) / p70, where
    radar is taken as ``clip-standardise``; ``dynamic-world``, the same with the percentiles of Dynamic World's own
    network, which had no B8A, in place of the store's.

    Parameters
    ----------
    pixels : (band, ...), as stored: uint16 DN, int16 hundredths of dB, or float32 dB. bands : in the same order.

    Returns
    -------
    float32 of the same shape.

    Raises
    ------
    InputError
        On an unknown scheme, another number of bands, a band that Dynamic World had not, or of grey values a scheme
        that takes reflectance.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r}: must be one of {', '.join(SCHEMES)}")
    if len(bands) != len(pixels):
        raise InputError(f"bands: {len(bands)} are described, the pixels have {len(pixels)}")
    if scheme in ("log-sigmoid", "dynamic-world"):
        refuse_display({band.name: DISPLAY for band in bands if band.unit == "grey"}, [band.name for band in bands],
                       f"scheme {scheme}", "the store")
    out = np.empty(pixels.shape, "float32")
    for x, raw, band in zip(out, pixels, bands, strict=True):
        if raw.dtype.kind == "f":
            missing = ~np.isfinite(raw)
            value = np.where(missing, 0, raw).astype("float32")
        else:
            radar = raw.dtype.kind == "i"
            missing = raw == (layout.S1_NODATA if radar else layout.S2_NODATA)
            value = raw.astype("float32") * np.float32(layout.S1_SCALE if radar else 1)
        if scheme in ("log-sigmoid", "dynamic-world") and band.log_p30 is not None and band.log_p70 is not None:
            p30, p70 = (band.log_p30, band.log_p70) if scheme == "log-sigmoid" else _dynamic_world(band.name)
            z = (np.log(np.float32(0.005) * value + 1) - p30) / (p70 or 1.0)
            value = 1 / (1 + np.exp(1 - 5 * z))
        elif scheme == "standardise":
            value = (value - band.mean) / (band.std or 1.0)
        elif scheme == "minmax":
            value = np.clip((value - band.p1) / ((band.p99 - band.p1) or 1.0), 0, 1)
        else:
            value = (np.clip(value, band.p1, band.p99) - band.clipped_mean) / (band.clipped_std or 1.0)
        x[...] = np.where(missing, 0, value)
    return out


def _dynamic_world(name: str) -> tuple[float, float]:
    if name not in DYNAMIC_WORLD:
        raise InputError(f"band {name}: Dynamic World's network had none such, its scheme knows "
                         f"{', '.join(DYNAMIC_WORLD)}; take scheme log-sigmoid")
    return DYNAMIC_WORLD[name]


def describe(found: Statistics) -> list[str]:
    """A table for people, line by line."""
    lines = [f"{found.tiles} tiles of split {found.split}",
             f"{'band':<6} {'unit':<6} {'pixels':>12} {'no data':>8} {'mean':>9} {'std':>9} {'p1':>9} {'p99':>9}"]
    for band in (*found.s2, *found.s1):
        share = band.nodata / max(1, band.count + band.nodata)
        lines.append(f"{band.name:<6} {band.unit:<6} {band.count:>12} {share:>8.2%} {band.mean:>9.2f} "
                     f"{band.std:>9.2f} {band.p1:>9.2f} {band.p99:>9.2f}")
    return lines
