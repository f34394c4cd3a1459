"""What was fixed when a store was made, put back where it is damaged: metadata files and columns that follow no pixel.

The seal knows what each of them was, so nothing is put back that is not the very thing. It is looked for in the root's
copy of the metadata, then in a store that is made anew, without pixels, of the rows that ``tiles.parquet`` has, of
those of the plan, and of what the columns that are left say of each other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, tile_from_id, tile_on_grid
from dwplus.spec import DatasetSpec
from dwplus.splits import split_of
from dwplus.store import digests, layout, seal, tables
from dwplus.store.columns import TROUBLE
from dwplus.store.places import ROOT, Place, place_of

#: Attributes of a root that follow from the spec and from this version's texts.
_OF_SPEC = ("classes", "biomes", "palette", "label_source", "sources", "Conventions", "title", "source", "license",
            "references", "s1_product", "s1_backscatter")
#: What a row has where nobody knows better; it is put back only where the seal says that it was so.
_UNKNOWN: dict[str, Any] = {
    "window": "", "label_id": "", "s2_id": "", "s1_id": "", "orbit_pass": "", "ecoregion": "", "clear_id": "",
    "speckle_ids": "", "label_gap_hours": np.nan, "gap_hours": np.nan, "s1_count": 1, "s2_cloud": np.nan,
    "relative_orbit": -1, "coastal": 0, "epsg": 32631, "x0": 0.0, "y0": 0.0, "tile_id": ""}
_TIMES = ("s1_time", "s2_time")


def restore(store: str | Path, plan: gpd.GeoDataFrame | None = None,
            still_ours: Callable[[], None] = lambda: None) -> list[str]:
    """Put back what is damaged of metadata and fixed columns, for who holds the store.

    Parameters
    ----------
    plan : the plan that the store was made from, where it is at hand.
    still_ours : raises where the hold was lost.

    Returns
    -------
    What was put back, in words; what could not be is left for ``dwplus verify`` to name. Nothing in stores of earlier
    builds, which have no seal.
    """
    damage = _Damage.of(store)
    if damage is None:
        return []
    damage.from_copies()
    sources = _sources(damage, plan)
    while damage.left and (rows := next(sources, None)) is not None:
        damage.from_rows(rows)
    still_ours()
    damage.write()
    return [f"{name}: put back" for name in sorted(damage.put_back)]


@dataclass
class _Damage:
    """A store's sealed parts and which of them are not what they were."""

    place: Place
    root: dict[str, Any]
    sealed: dict[str, str]
    columns: dict[str, str]
    #: Sound metadata by path; files to write, by key.
    members: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, bytes] = field(default_factory=dict)
    #: Fixed columns to write, and those that are sound, by path.
    values: dict[str, np.ndarray] = field(default_factory=dict)
    sound: dict[str, np.ndarray] = field(default_factory=dict)
    put_back: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, store: str | Path) -> _Damage | None:
        place = place_of(store)
        try:
            root = json.loads(place.read(ROOT))
            kept = root["attributes"][seal.KEY]
            if kept["algorithm"] != digests.ALGORITHM:
                return None
            found = cls(place, root, dict(kept["metadata"]), dict(kept["columns"]))
        except (*TROUBLE, RecursionError):
            return None
        return found

    @property
    def left(self) -> bool:
        """Whether something is not as it was."""
        return (len(self.members) < len(self.sealed) or len(self.sound) < len(self.columns)
                or seal.of_root(self.root) != self.root["attributes"][seal.KEY]["root"])

    def from_copies(self) -> None:
        """Take each metadata file or the root's copy of it, whichever is as it was; then read the columns."""
        copies: Any = self.root.get("consolidated_metadata")
        copies = copies.get("metadata", {}) if isinstance(copies, dict) else {}
        copies = copies if isinstance(copies, dict) else {}
        for name, digest in self.sealed.items():
            try:
                own = json.loads(self.place.read(f"{name}/zarr.json"))
            except (OSError, ValueError, RecursionError):
                own = None
            if isinstance(own, dict) and seal.of_metadata(own) == digest:
                self.members[name] = own
            elif isinstance(copy := copies.get(name), dict) and seal.of_metadata(copy) == digest:
                self._take(name, copy)
        self._read()

    def _take(self, name: str, meta: dict[str, Any]) -> None:
        meta = {key: value for key, value in meta.items() if key != "consolidated_metadata"}
        self.members[name] = meta
        self.changes[f"{name}/{ROOT}"] = json.dumps(meta, indent=2).encode()
        self.put_back.add(f"{name}/{ROOT}")

    def _read(self) -> None:
        """The columns that hold what they were made with."""
        for path, digest in self.columns.items():
            try:
                values = _read_with(json.dumps(self.members[path]).encode(), self.place.read(f"{path}/c/0"))
                if digests.of_values(values) == digest:
                    self.sound[path] = values
            except Exception:  # no metadata, no chunk, or whatever a codec raises at damaged bytes
                continue

    def from_rows(self, rows: pd.DataFrame) -> None:
        """Make a store of some rows and take from it what is as it was."""
        attributes = self.root["attributes"]
        try:
            text = str(rows["spec"].iat[0]) if "spec" in rows else json.dumps(attributes["spec"])
            spec = DatasetSpec.from_json(text, "its spec")
            with tempfile.TemporaryDirectory() as folder:
                anew = Path(folder) / "anew"
                layout.create(anew, gpd.GeoDataFrame(rows), spec, created=str(attributes["created"]),
                              earth=str(attributes["earth"]), earth_version=str(attributes.get("earth_version", "")))
                made = json.loads((anew / ROOT).read_text())
                kept = made["attributes"][seal.KEY]
                for name in self.sealed.keys() - self.members.keys():
                    if kept["metadata"].get(name) == self.sealed[name]:
                        self._take(name, made["consolidated_metadata"]["metadata"][name])
                for path in self.columns.keys() - self.sound.keys():
                    if kept["columns"].get(path) == self.columns[path]:
                        self.sound[path] = self.values[path] = np.asarray(
                            zarr.open_array(anew, path=path, mode="r", zarr_format=3)[...])
                        self.put_back.add(path)
                self._root(made["attributes"])
        except (*TROUBLE, InputError, RecursionError):
            return

    def _root(self, made: dict[str, Any]) -> None:
        """The root's attributes, with those that follow from the spec as they were made anew; or with the spec too."""
        wanted = self.root["attributes"][seal.KEY]["root"]
        of_plan = (*_OF_SPEC, "plan", "s1_passes")
        for names in ((), _OF_SPEC, (*_OF_SPEC, "spec"), of_plan, (*of_plan, "spec", "history")):
            attributes = {**self.root["attributes"], **{name: made[name] for name in names if name in made}}
            for extra in ({}, {"consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {}}}):
                root = {**self.root, **extra, "attributes": attributes}
                if seal.of_root(root) == wanted:
                    if names or extra:
                        self.put_back.add(ROOT)
                    self.root = root
                    return

    def write(self) -> None:
        """Put all in place; the root, which holds the copies, is the last."""
        for key, content in self.changes.items():
            self.place.write(key, [content])
        for path, values in self.values.items():
            if path in self.members:
                array = zarr.open_array(self.place.zarr("r+"), path=path, mode="r+", zarr_format=3)
                array.with_config({"write_empty_chunks": True})[...] = values
            else:
                self.put_back.discard(path)
        kept: Any = self.root.get("consolidated_metadata")
        if isinstance(kept, dict) and self._of_copies(kept.get("metadata")) != self.sealed:
            # As zarr orders them: it takes the members of a group to lie together.
            names = sorted(self.members, key=lambda name: (name.count("/"), name))
            kept["metadata"] = {name: self._copy(name) for name in names}
            self.put_back.add(ROOT)
        if ROOT in self.put_back:
            self.place.write(ROOT, [seal.to_bytes(self.root)])

    def _copy(self, name: str) -> dict[str, Any]:
        """A member's metadata as the root has it, in which groups have room for their own members'."""
        found: dict[str, Any] = {}
        for key, value in self.members[name].items():
            if key == "node_type" and value == "group":
                found["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {}}
            found[key] = value
        return found

    @staticmethod
    def _of_copies(copies: Any) -> dict[str, str]:
        if not isinstance(copies, dict):
            return {}
        return {name: seal.of_metadata(copy) if isinstance(copy, dict) else "" for name, copy in copies.items()}


def _read_with(meta: bytes, chunk: bytes) -> np.ndarray:
    """A column of one chunk from its metadata and its bytes."""
    whole: Any = default_buffer_prototype().buffer.from_bytes
    memory = MemoryStore({ROOT: whole(meta), "c/0": whole(chunk)})
    return np.asarray(zarr.open_array(memory, mode="r", zarr_format=3)[...])


def _sources(damage: _Damage, plan: gpd.GeoDataFrame | None) -> Iterator[pd.DataFrame]:
    """Rows to make a store of, one table after the other."""
    if (table := _from_parquet(damage)) is not None:
        yield table
    if plan is not None:
        yield pd.DataFrame(plan)
    # What was put back by others may be what a further column follows from.
    before = -1
    while before < len(damage.sound):
        before = len(damage.sound)
        if (table := _from_columns(damage)) is not None:
            yield table


def _from_parquet(damage: _Damage) -> pd.DataFrame | None:
    """The rows of ``tiles.parquet``, as a plan has them; None where it is not there or cannot be read."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / tables.FILE
            path.write_bytes(damage.place.read(tables.FILE))
            table = pd.read_parquet(path).drop(columns=["geometry", "bbox"], errors="ignore")
        return _as_plan(table, damage)
    except (*TROUBLE, InputError):
        return None


def _from_columns(damage: _Damage) -> pd.DataFrame | None:
    """Rows of the columns that are sound, and of what follows from them."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    names = {path.split("/")[0] for path in damage.columns}
    for path, values in damage.sound.items():
        group, _, name = path.partition("/")
        if name not in ("s2_band", "s1_band", "embedding_band", "class", digests.NAMES, digests.ROW):
            groups.setdefault(group, {})[name] = values
    try:
        frames = []
        for group in sorted(names):
            table = pd.DataFrame(groups[group]).assign(biome=int(group.removeprefix("biome_")))
            for name in _TIMES:
                if name in table:
                    table[name] = pd.to_datetime(table[name], unit="ms", utc=True)
            if "split" in table:
                table["split"] = np.array(layout.SPLIT_FLAGS, object)[table["split"].to_numpy("int64")]
            # Each by itself: what one group lacks another may have.
            frames.append(_as_plan(table, damage))
        return pd.concat(frames, ignore_index=True)
    except (*TROUBLE, InputError):
        return None


def _as_plan(table: pd.DataFrame, damage: _Damage) -> pd.DataFrame:
    """Rows with every column that a store is made of; what is missing follows from the rest, or is left unknown."""
    spec = damage.root["attributes"]["spec"]
    size, scale = int(spec["tile"]["size"]), float(spec["tile"]["scale"])
    table = table.assign(size=size, scale=scale, state="planned", reason="")
    if {"epsg", "x0", "y0"} - set(table) and "tile_id" in table:
        grids = [tile_from_id(str(name)).grid for name in table["tile_id"]]
        table = table.assign(epsg=[g.epsg for g in grids], x0=[g.x0 for g in grids], y0=[g.y0 for g in grids])
    grids = [PixelGrid(int(e), float(x), float(y), scale, size, size)
             for e, x, y in zip(table["epsg"], table["x0"], table["y0"], strict=True)]
    if "tile_id" not in table:
        table["tile_id"] = [tile_on_grid(grid).id for grid in grids]
    if "window" not in table and len(spec["windows"]) == 1:
        table["window"] = "/".join(map(str, spec["windows"][0])) if isinstance(
            spec["windows"][0], list) else f"{spec['windows'][0]['start']}/{spec['windows'][0]['end']}"
    if "split" not in table:
        table["split"] = [split_of(int(spec["sampling"]["seed"]), grid) for grid in grids]
    if "gap_hours" in table:
        gap = pd.to_timedelta((table["gap_hours"] * 3_600_000).round(), unit="ms")
        if "s1_time" not in table and "s2_time" in table:
            table["s1_time"] = table["s2_time"] + gap
        elif "s2_time" not in table and "s1_time" in table:
            table["s2_time"] = table["s1_time"] - gap
    elif {"s1_time", "s2_time"} <= set(table):
        table["gap_hours"] = (table["s1_time"] - table["s2_time"]) / pd.Timedelta(hours=1)
    for name, value in _UNKNOWN.items():
        if name not in table:
            table[name] = value
    for name in _TIMES:
        if name not in table:
            table[name] = pd.NaT
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[ms, UTC]")
    return table
