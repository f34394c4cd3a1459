"""Tiles of one or more stores as samples: filtered, cropped, turned, always the same for the same seed and epoch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import zarr

from dwplus.errors import EmptySplitError, InputError
from dwplus.spec import extras as more
from dwplus.store import layout, stats
from dwplus.store.legend import Legend
from dwplus.store.marks import bad_tiles, is_bad
from dwplus.store.reader import tile_table
from dwplus.store.recode import Recoding, recodings
from dwplus.store.stats import Statistics
from dwplus.store.tiles import Pixels, TileReader, tensorstore_array
from dwplus.taxonomy import IGNORE
from model.normalise import Normalisation, Normaliser
from model.selection import at_most, blocks, check_known, describe, extras_of, few, filtered, nothing_left, words

#: Process in which TensorStore was first used. Its threads do not live on in a forked child, where a read would wait
#: for ever; there zarr-python reads.
_tensorstore_process: int | None = None


@dataclass
class Raw:
    """One sample as stored: s2 uint16 (bands, y, x), extras behind Sentinel-2's own; s1 int16 or float32 (bands, y, x);
    label uint8 (y, x)."""

    s2: np.ndarray
    s1: np.ndarray
    label: np.ndarray
    keep: tuple[bool, bool] = (True, True)


class TileDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Exported tiles of a split.

    ``dataset[i]`` is a dict of float32 ``s2`` and ``s1`` (bands, y, x), standardised and 0 where there is no data,
    ``label`` uint8 (y, x) with 255 = ignore, and ``tile_id``. It holds no open store: it can be pickled, and forked
    before anything is read.

    Parameters
    ----------
    store : path or URL of a store, or several of stores with the same bands (say, of other date windows).
    split : ``train``, ``val``, ``test``, or ``all``.
    crop : side of a random window of the tile, px; None = whole tiles.
    augment : random flips and quarter turns.
    seed : of crops, turns and dropped sensors; with :meth:`set_epoch` it decides them, whatever thread reads.
    min_gap_hours, max_gap_hours : bounds on \\|S1 - S2\\|. max_cloud : of the S2 scene, percent. biomes : numbers.
    min_valid_fraction : least share of pixels with label, S2 and S1.
    exclude : file of marks (:mod:`dwplus.store.marks`) whose bad tiles are left out.
    drop_s2, drop_s1 : probability that a sensor is missing from a training sample; never both.
    normalisation : of the checkpoint; None = measured on the train split when first needed.
    reader : ``direct`` (:class:`dwplus.store.tiles.TileReader`), ``tensorstore``, ``zarr``, or ``auto`` = the first.
    max_tiles : keep a seeded draw of this many.
    classes : class table that labels are turned into on reading, by name or as a YAML file; None = the stores' own,
        which then must agree. share : share of the tiles to keep, a seeded draw stratified by class.
    extras : of the stores, further bands of ``s2`` in 16 bits (:func:`dwplus.spec.extras.as_input`); None = those
        that the normalisation is of.
    tables : of the stores, as another dataset of them has them (:attr:`tables`): reading them is half of opening one.

    Raises
    ------
    InputError
        On a store without S1, stores of other bands, a split with no tiles, a bad option.
    """

    def __init__(self, store: str | Path | Sequence[str | Path], split: str = "train", *, crop: int | None = None,
                 augment: bool = False, seed: int = 0, min_gap_hours: float | None = None,
                 max_gap_hours: float | None = None, max_cloud: float | None = None,
                 biomes: Sequence[int] | None = None, min_valid_fraction: float = 0.0,
                 exclude: str | Path | None = None, drop_s2: float = 0.0,
                 drop_s1: float = 0.0, normalisation: Normalisation | None = None, reader: str = "auto",
                 max_tiles: int | None = None, classes: str | None = None, share: float = 1.0,
                 extras: Sequence[str] | None = None, tables: Sequence[pd.DataFrame] | None = None) -> None:
        if reader not in ("auto", "direct", "tensorstore", "zarr"):
            raise InputError(f"reader {reader!r}: must be auto, direct, tensorstore or zarr")
        if split not in (*layout.SPLITS, "all"):
            raise InputError(f"split {split!r}: must be one of {', '.join(layout.SPLITS)}, all")
        if min(drop_s2, drop_s1) < 0 or drop_s2 + drop_s1 > 1:
            raise InputError(f"drop_s2 {drop_s2} and drop_s1 {drop_s1}: must be probabilities that add up to at most 1")
        self.stores = [str(s) for s in ([store] if isinstance(store, str | Path) else store)]
        if not self.stores:
            raise InputError("store: give at least one")
        self.split, self.crop, self.augment, self.seed, self.epoch = split, crop, augment, seed, 0
        self.drop = (drop_s2, drop_s1)
        self.reader = reader
        self._normalisation = normalisation
        self._normaliser: Normaliser | None = None
        self._arrays: dict[tuple[int, str, str], Any] = {}
        self._readers: dict[str, TileReader] = {}
        first, *rest = [describe(path) for path in self.stores]
        for path, other in zip(self.stores[1:], rest, strict=True):
            for key in ("s2_bands", "s1_bands", "s1_dtype", "units", "radar"):
                if other[key] != first[key]:
                    raise InputError(f"store {path}: has {key} {words(other[key])}, {self.stores[0]} has "
                                     f"{words(first[key])}; give stores of the same "
                                     f"{'radar' if key == 'radar' else 'bands'}")
        #: Classes of the samples, and how each store's labels become them.
        self.legend: Legend
        self._recodings: list[Recoding]
        self.legend, self._recodings = recodings([d["legend"] for d in (first, *rest)], self.stores, classes)
        #: Unit of every band, by name.
        self.units: dict[str, str] = first["units"]
        if extras is None:
            extras = () if normalisation is None else more.inputs_in(normalisation.s2.bands)
        #: Extras that are bands of the samples, each as its stores hold it; Sentinel-2's own bands come before them.
        self.extras: list[more.Extra] = extras_of(self.stores, (first, *rest), extras)
        self.own = len(first["s2_bands"])
        self.s2_bands: tuple[str, ...] = (*first["s2_bands"], *more.input_bands([e.name for e in self.extras]))
        self.units = {**self.units, **{band: more.input_units()[band] for band in self.s2_bands[self.own:]}}
        self.s1_bands: tuple[str, ...] = first["s1_bands"]
        self.s1_dtype: str = first["s1_dtype"]
        self.label_source: str = first["label_source"]
        self.specs = [first["spec"], *(other["spec"] for other in rest)]
        self.sizes = {d["size"] for d in (first, *rest)}
        if crop is not None and not 1 <= crop <= min(self.sizes):
            raise InputError(f"crop {crop}: must be 1 to {min(self.sizes)}, the tiles' size")
        #: The stores' tables of tiles, as they were read.
        self.tables = [tile_table(path) for path in self.stores] if tables is None else list(tables)
        coded = [how.table(table, self.legend).assign(store=number)
                 for number, (table, how) in enumerate(zip(self.tables, self._recodings, strict=True))]
        every = pd.concat(coded, ignore_index=True)
        if exclude is not None:
            every = every[~is_bad(every, bad_tiles(exclude))]
        check_known(every, self.stores, {"min_gap_hours": min_gap_hours, "max_gap_hours": max_gap_hours,
                                    "max_cloud": max_cloud, "biomes": biomes})
        chosen = filtered(every, split, min_gap_hours, max_gap_hours, max_cloud, biomes, min_valid_fraction)
        if not len(chosen):
            raise EmptySplitError(nothing_left(self.stores, every, split))
        if share < 1:
            chosen = chosen.iloc[few(chosen[self.legend.counts].to_numpy("float64"), share, seed)]
        chosen = chosen.iloc[at_most(len(chosen), max_tiles, seed)]
        #: One row per sample: the tile's columns, ``store`` (number), ``block`` (spatial block), ``shard`` (number).
        self.table: pd.DataFrame = chosen.reset_index(drop=True)
        shard = self.table["index"] // np.array([d["shard"] for d in (first, *rest)])[self.table["store"].to_numpy()]
        self.table["shard"] = self.table.assign(shard=shard).groupby(["store", "group", "shard"]).ngroup()
        self.table["block"] = blocks(self.table, [d["half"] for d in (first, *rest)])
        self._rows = list(zip(self.table["store"], self.table["group"], self.table["index"], strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": {}, "_readers": {}, "_normaliser": None, "tables": None}

    def set_epoch(self, epoch: int) -> None:
        """Other crops, turns and dropped sensors from now on."""
        self.epoch = epoch

    @property
    def window(self) -> int:
        """Side of every sample, px.

        Raises
        ------
        InputError
            Where tiles are of several sizes and there is no crop: they fit in no batch.
        """
        if self.crop is None and len(self.sizes) > 1:
            raise InputError(f"stores {', '.join(self.stores)}: tiles are {words(sorted(self.sizes))} px; set a crop")
        return self.crop or next(iter(self.sizes))

    @property
    def class_counts(self) -> np.ndarray:
        """Labelled pixels per class of the split, int64 (classes,), as the stores count them."""
        counts: np.ndarray = self.table[self.legend.counts].sum().to_numpy("int64")
        return counts

    @property
    def normalisation(self) -> Normalisation:
        """The given statistics, or those of the train split, measured once."""
        if self._normalisation is None:
            self._normalisation = statistics(self.stores, reader=self.reader, extras=[e.name for e in self.extras])
        return self._normalisation

    def tile(self, index: int, into: Pixels | None = None) -> Raw:
        """A whole tile as stored.

        Parameters
        ----------
        into : arrays that may be filled and given back; reader ``direct`` unpacks right into them.

        Raises
        ------
        InputError
            Where it cannot be read, or holds a label that is no class.
        """
        number, group, row = self._rows[index]
        where = f"store {self.stores[number]}: tile {self.table['tile_id'].iat[index]} ({group}, row {row})"
        try:
            s2, s1, label = self._with_extras(self.stores[number], group, int(row), into) if self.extras else (
                self._read(self.stores[number], group, int(row), into))
        except InputError:
            raise  # what is missing or damaged says where, and what to run
        except Exception as error:  # noqa: BLE001  TensorStore raises ValueError, zarr several: all mean a broken chunk
            first = str(error).splitlines()[0] if str(error) else ""
            raise InputError(f"{where} cannot be read ({type(error).__name__}: {first[:200]}); export it "
                             "again") from None
        how = self._recodings[number]
        # Wrapped around, the classes come last and 255 before them: one comparison finds what lies between.
        wrong = label - np.uint8(how.classes) < IGNORE - how.classes
        if wrong.any():
            raise InputError(f"{where} holds label {int(label[wrong][0])}; labels must be 0 to {how.classes - 1}, or "
                             f"{IGNORE} = ignore")
        return Raw(s2, s1, how(label))

    @property
    def has_cloud(self) -> bool:
        """Whether every store is of triplets, with a cloud mask per tile."""
        return "cloud_fraction" in self.table and bool(self.table["cloud_fraction"].notna().all())

    def cloud(self, index: int) -> np.ndarray:
        """The cloud mask of a whole tile of a triplet store, uint8 (y, x): 0 clear, 1 cloud, 255 not known. No network
        is shown it."""
        number, group, row = self._rows[index]
        return self._direct(self.stores[number]).array(group, "cloud", int(row))

    def raw(self, index: int, epoch: int | None = None, into: Pixels | None = None, *, window: int = 0,
            whole: Raw | None = None) -> Raw:
        """A sample as stored, cropped and turned; views where possible.

        Parameters
        ----------
        window : which of the tile's windows of this epoch. whole : the tile, where it is decoded already.
        epoch : None = that of :meth:`set_epoch`.
        into : as for :meth:`tile`, for whole tiles that are not turned; else it is left alone.
        """
        sample = whole or self.tile(index, None if self.crop is not None or self.augment else into)
        if self.crop is None and not self.augment and self.drop == (0, 0):
            return sample
        which = [self.seed, self.epoch if epoch is None else epoch, index]
        rng = np.random.default_rng([*which, window] if window else which)
        if self.crop is not None:
            height, width = sample.label.shape
            y, x = rng.integers(0, height - self.crop + 1), rng.integers(0, width - self.crop + 1)
            here = (..., slice(y, y + self.crop), slice(x, x + self.crop))
            sample = Raw(sample.s2[here], sample.s1[here], sample.label[here])
        if self.augment:
            flip, turns = bool(rng.integers(2)), int(rng.integers(4))
            s2, s1, label = (np.rot90(a[..., ::-1] if flip else a, turns, (-2, -1))
                             for a in (sample.s2, sample.s1, sample.label))
            sample = Raw(s2, s1, label)
        draw = rng.random()
        if draw < self.drop[0]:
            sample.keep = (False, True)
        elif draw < sum(self.drop):
            sample.keep = (True, False)
        return sample

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        sample = self.raw(index)
        if self._normaliser is None:
            self._normaliser = Normaliser(self.normalisation)
        s2, s1, label = self._normaliser(
            *(torch.from_numpy(np.ascontiguousarray(a))[None] for a in (sample.s2, sample.s1, sample.label)),
            torch.tensor([sample.keep]))
        return {"s2": s2[0], "s1": s1[0], "label": label[0], "tile_id": str(self.table["tile_id"].iat[index])}

    def _read(self, store: str, group: str, row: int,
              into: Pixels | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.reader in ("auto", "direct"):
            return self._direct(store).read(group, row, into)
        s2, s1, label = (self._open(store, f"{group}/{name}") for name in ("s2", "s1", "label"))
        if isinstance(s2, zarr.Array):
            found = tuple(np.asarray(a[row]) for a in (s2, s1, label))
        else:
            found = tuple(r.result() for r in [a[row].read() for a in (s2, s1, label)])
        self._demand(store, group, row, Pixels(*found))
        return found  # type: ignore[return-value]

    def _with_extras(self, store: str, group: str, row: int,
                     into: Pixels | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A tile with its extras behind Sentinel-2's bands."""
        if into is not None:
            own = Pixels(into.s2[:self.own], into.s1, into.label)
            whole = into.s2
            s2, s1, label = self._read(store, group, row, own)
        else:
            s2, s1, label = self._read(store, group, row)
            whole = np.empty((len(self.s2_bands), *s2.shape[1:]), s2.dtype)
        if not np.shares_memory(whole, s2):
            whole[:self.own] = s2
        start = self.own
        for one in self.extras:
            bands = more.as_input(one, self._direct(store).array(group, one.name, row))
            whole[start:start + len(bands)] = bands
            start += len(bands)
        return whole, s1, label

    def _demand(self, store: str, group: str, row: int, found: Pixels) -> None:
        """Zarr and TensorStore answer with fill values for what is missing; the direct reader tells the two apart."""
        fill = {"s2": layout.S2_NODATA, "s1": layout.S1_NODATA, "label": IGNORE}
        for name, pixels in found._asdict().items():
            first = pixels.flat[0]
            if (first == fill[name] or first != first) and not (pixels.ravel()[::97] != first).any():
                self._direct(store).array(group, name, row)

    def _direct(self, store: str) -> TileReader:
        # setdefault: two threads may make one at the same time, all keep the same.
        return self._readers.get(store) or self._readers.setdefault(
            store, TileReader(store, exported=True))

    def _open(self, store: str, name: str) -> Any:
        # Keyed by process: what a parent opened is of no use in a fork of it.
        key = (os.getpid(), store, name)
        if key not in self._arrays:
            self._arrays[key] = _open_array(store, name, self.reader)
        return self._arrays[key]


def _open_array(store: str, name: str, reader: str) -> Any:
    global _tensorstore_process
    forked = _tensorstore_process not in (None, os.getpid())
    if reader != "zarr" and not forked:
        try:
            import tensorstore  # noqa: F401
        except ImportError:
            if reader == "tensorstore":
                raise InputError("reader tensorstore: is not installed; pip install tensorstore, or take "
                                 "zarr") from None
        else:
            _tensorstore_process = os.getpid()
            return tensorstore_array(store, name)
    return layout.open_root(store)[name]


def statistics(stores: str | Path | Sequence[str | Path], *, max_tiles: int = 256, seed: int = 0,
               reader: str = "auto", threads: int = 4, **filters: Any) -> Normalisation:
    """What the networks' inputs are scaled by, from :func:`band_statistics` of the train split; nothing is written."""
    found, _ = band_statistics(stores, max_tiles=max_tiles, seed=seed, reader=reader, threads=threads, **filters)
    return Normalisation.of(found)


def band_statistics(stores: str | Path | Sequence[str | Path], *, max_tiles: int = 256, seed: int = 0,
                    reader: str = "auto", threads: int = 4, beside: Path | None = None,
                    speak: Callable[[str], None] | None = None, tables: Sequence[pd.DataFrame] | None = None,
                    **filters: Any) -> tuple[Statistics, bool]:
    """Band statistics of the train split: those the store keeps of all these tiles or of the draw, else measured.

    Parameters
    ----------
    max_tiles : a seeded draw of this many tiles is measured; the stores' tiles are many and much alike.
    beside : a file that may hold statistics of an earlier call, where they could not be kept in the store.
    speak : told when tiles are measured. tables, filters : of :class:`TileDataset`.

    Returns
    -------
    The statistics, and whether they were measured just now.

    Raises
    ------
    InputError
        As :class:`TileDataset`.
    """
    whole = TileDataset(stores, "train", seed=seed, reader=reader, tables=tables, **filters)
    chosen = at_most(len(whole), max_tiles, seed)
    bands = whole.s2_bands, whole.s1_bands
    for rows in (whole.table, whole.table.iloc[chosen]):
        found = stats.kept_for(whole.stores[0], rows, *bands) if len(whole.stores) == 1 else None
        if found is None and beside is not None:
            found = stats.matching([_json_of(beside)], rows, *bands)
        if found is not None:
            return found, False
    if speak is not None:
        speak(f"measuring band statistics on {len(chosen)} tiles")
    counts = {sensor: np.zeros((len(names), stats.VALUES), "int64")
              for sensor, names in zip(("s2", "s1"), bands, strict=True)}
    with ThreadPoolExecutor(threads) as pool:
        # By handfuls: a map over all of them would hold every tile in memory.
        for start in range(0, len(chosen), 2 * threads):
            for sample in pool.map(whole.tile, map(int, chosen[start:start + 2 * threads])):
                stats.count_values(sample.s2, counts["s2"])
                stats.count_values(sample.s1, counts["s1"])
    s2, s1 = (tuple(stats.band_statistics(c, name, sensor, whole.units[name])
                    for c, name in zip(counts[sensor], names, strict=True))
              for sensor, names in zip(("s2", "s1"), bands, strict=True))
    return Statistics("train", len(chosen), stats.digest(whole.table.iloc[chosen]), s2, s1), True


def keep_statistics(stores: Sequence[str], found: Statistics, beside: Path) -> None:
    """Keep statistics that were measured: in the store, or in a file beside the run where there are several stores or
    the store cannot be written.

    Raises
    ------
    InputError
        Where the file cannot be written either.
    """
    if len(stores) == 1 and not more.inputs_in([band.name for band in found.s2]):
        # A store on the web, read-only, or being written by another run: the file serves this run.
        with contextlib.suppress(InputError):
            stats.keep(stores[0], found)
            return
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(found.to_dict()) + "\n")
    except OSError as error:
        raise InputError(f"run {beside.parent}: cannot be written ({error.strerror or error})") from None


def _json_of(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None
