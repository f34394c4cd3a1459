"""The layout of a store: Zarr v3, one group per biome, a tile a chunk, some tiles a shard, statuses beside them.

A store is made whole, with every planned tile ``pending``, in a folder beside its place and renamed; from then on each
shard has one owner that writes it once.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import zarr
import zarr.errors
import zarr.storage
from zarr import AsyncGroup
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.group import GroupMetadata
from zarr.storage import StorePath

from dwplus.errors import InputError
from dwplus.runtime.names import VERSION
from dwplus.runtime.paths import fresh
from dwplus.spec import DatasetSpec, radar
from dwplus.store import digests, plan_rows, seal, stops
from dwplus.store.imported import GROUP, NO_BIOME, ImportSpec, root_attributes
from dwplus.store.legend import Legend, attributes_of, legend_from
from dwplus.store.places import ROOT, Bucket, BucketError, Folder, beside, place_of, upload
from dwplus.store.sources import of_export, words_of_pixels
from dwplus.store.web import source_of
from dwplus.taxonomy import BIOMES, IGNORE, STRATUM_NAMES

if TYPE_CHECKING:
    from zarr.types import AnyArray

STATUSES = ("pending", "exported", "rejected", "failed")
SPLITS = ("train", "val", "test")
#: The same with what ``dwplus split --guard`` sets aside: tiles too near to another split.
SPLIT_FLAGS = (*SPLITS, "guard")
PENDING, EXPORTED, REJECTED, FAILED = range(4)
S1_NODATA, S2_NODATA = -32768, 65535
S1_SCALE = 0.01
UNKNOWN_CLOUD = 255
#: More tiles a group, and more values a tile or a chunk, than any store of this project holds.
MOST_TILES, MOST_PIXELS = 50_000_000, 1 << 31
#: More bytes than any metadata file of a store has.
MOST_METADATA = 1 << 28
#: Bytes that blosc packs together. Its own choice, some 32 KiB, makes zstd twice as slow to unpack (9.5 ms a tile of
#: the sample planet, 5.0 ms so; 3.86 and 3.70 MB; on real pixels 1.32 and 1.03 ms/MB, 3 % larger).
BLOCK_BYTES = 1 << 19

#: Columns of text that a plan may have beyond the contract's; see :data:`dwplus.planning.plan.MORE_COLUMNS`.
MORE_TEXTS = ("platform", "s2_product", "s2_match", "label_set", "scene", "published_split")
#: Where a tile lies in its scene, of imported stores: rows and columns from the upper left, px.
IN_SCENE = ("scene_row", "scene_col")


def group_name(biome: int) -> str:
    """Name of a biome's group; 0 stands for tiles of which none is known."""
    return GROUP if biome == NO_BIOME else f"biome_{biome:02d}"


def biome_of_group(name: str) -> int:
    """Inverse of :func:`group_name`."""
    return NO_BIOME if name == GROUP else int(name.removeprefix("biome_"))


def is_group(name: str) -> bool:
    """Whether a name is that of a group of tiles."""
    return name == GROUP or name.startswith("biome_")


def biome_groups(root: zarr.Group) -> list[str]:
    """Names of the groups that hold tiles, in order."""
    return sorted(name for name in root.group_keys() if is_group(name))


def group_of(root: zarr.Group, name: str) -> zarr.Group:
    """A group of a store.

    Raises
    ------
    InputError
        Where it is no group, or its arrays cannot be what they say.
    """
    found = root[name]
    if not isinstance(found, zarr.Group):
        raise InputError(f"store {root.store}: {name} is no group of tiles")
    check_shapes(root.store, found)
    return found


def check_shapes(store: Any, group: zarr.Group) -> None:
    """Refuse a group whose arrays disagree on the number of tiles, or are larger than anything that was ever written:
    reading them would take all memory.

    Raises
    ------
    InputError
        With the array.
    """
    tiles: int | None = None
    for name, array in group.arrays():
        where = f"store {store}: {group.basename}/{name} says its shape is {array.shape} in chunks of {array.chunks}"
        rest, chunk = math.prod(array.shape[1:]), math.prod(array.chunks)
        if array.ndim > 4 or max(array.shape, default=0) > MOST_TILES or rest > MOST_PIXELS or chunk > MOST_PIXELS:
            raise InputError(f"{where}, which no store of this project has; run dwplus verify on it")
        if array.metadata.dimension_names and array.metadata.dimension_names[0] == "tile":  # type: ignore[union-attr]
            tiles = array.shape[0] if tiles is None else tiles
            if array.shape[0] != tiles:
                raise InputError(f"{where}, but other arrays hold {tiles} tiles; run dwplus verify on it")


def open_root(path: str | Path, mode: str = "r") -> zarr.Group:
    """The root of a store.

    Raises
    ------
    InputError
        Where there is none, or it is no store of this project.
    """
    place = source_of(path) if mode == "r" else place_of(path)
    if not place.exists():
        raise InputError(f"store {path}: no such store")
    if isinstance(place, Folder) and place.path.is_file():
        raise InputError(f"store {path}: is a file, must be the folder; unpack it first, if it is an archive")
    try:
        if isinstance(place, Folder) and (place.path / ROOT).stat().st_size > MOST_METADATA:
            raise ValueError(f"its {ROOT} is too large")
        root = zarr.open_group(place.zarr(mode), mode=mode, zarr_format=3)  # type: ignore[arg-type]
        if "dwplus_version" not in root.attrs:
            raise KeyError("dwplus_version")
    except (KeyError, ValueError, TypeError, AttributeError, OSError, RecursionError, AssertionError, OverflowError,
            BucketError) as error:
        raise InputError(f"store {path}: is no dwplus store ({type(error).__name__}: "
                         f"{' '.join(str(error).split())[:200]})") from None
    return root


class KeptGroup(zarr.Group):
    """A group that opens each of its arrays once, for who writes shard after shard; nobody else may change them."""

    def __getitem__(self, path: str) -> AnyArray | zarr.Group:
        kept = vars(self).setdefault("kept", {})
        if path not in kept:
            kept[path] = super().__getitem__(path)
        found: AnyArray | zarr.Group = kept[path]
        return found

    def __contains__(self, member: str) -> bool:
        known = vars(self).setdefault("known", {})
        if member not in known:
            known[member] = super().__contains__(member)
        return bool(known[member])


def open_biome(path: str | Path, name: str, mode: str = "r") -> KeptGroup:
    """One group of a store that is known to be one. Reads nothing yet: each array's metadata when it is asked for, not
    that of all arrays and of the whole store.

    Raises
    ------
    StopError
        Where it is opened for writing and is gone.
    """
    if mode != "r":
        stops.check_there(path)
    store: Any = source_of(path).zarr(mode)
    return KeptGroup(AsyncGroup(GroupMetadata(), StorePath(store, name)))


def create(path: str | Path, plan: gpd.GeoDataFrame, spec: DatasetSpec | ImportSpec, *, created: str, earth: str,
           earth_version: str = "", attributes: Mapping[str, Any] | None = None,
           legend: Legend | None = None) -> None:
    """Make a store with every planned tile pending.

    Parameters
    ----------
    plan : rows in the order of the store; rejected rows are counted, not stored.
    created : ISO time, UTC.
    earth : ``earth-engine`` or ``embedded-earth``.
    earth_version : of an embedded Earth, see :attr:`dwplus.earth.Session.version`; empty where it is not known.
    attributes : further ones of the root, such as what an imported store was made from.
    legend : classes of the labels; None = those of the spec.

    Raises
    ------
    InputError
        Where the place cannot be written.
    """
    place = place_of(path)
    if legend is None:
        legend = spec.legend if isinstance(spec, ImportSpec) else legend_from(spec.labels.table)
    if isinstance(place, Bucket):
        _create_in(place, plan, spec, created, earth, earth_version, attributes or {}, legend)
        return
    path = place.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Hidden and named after the store: a run that is killed here leaves a folder the next run sweeps away.
        for stale in path.parent.glob(f".{path.name}.new-*"):
            shutil.rmtree(stale)
        partial = fresh(path)
        partial.mkdir()
        try:
            _fill(partial, plan, spec, created, earth, earth_version, attributes or {}, legend)
            os.rename(partial, path)
        finally:
            if partial.exists():
                shutil.rmtree(partial)
    except OSError as error:
        raise InputError(f"store {path}: cannot be written ({error.strerror or error})") from None


def _create_in(place: Bucket, plan: gpd.GeoDataFrame, spec: DatasetSpec | ImportSpec, created: str, earth: str,
               earth_version: str, attributes: Mapping[str, Any], legend: Legend) -> None:
    """A bucket renames nothing: all objects are put, the root's metadata last, under a mark for who finds half."""
    run = beside(place.name, ".run")
    try:
        if "creating" in run.files():
            place.clear()
        elif stray := next(iter(place.files()), None):
            raise InputError(f"store {place.name}: is no store, but holds other objects ({stray}); choose another "
                             "STORE")
        run.write("creating", [b""])
        with tempfile.TemporaryDirectory() as folder:
            _fill(Path(folder), plan, spec, created, earth, earth_version, attributes, legend)
            upload(Path(folder), place)
        run.remove("creating")
    except OSError as error:
        raise InputError(f"store {place.name}: cannot be written ({error})") from None


def _fill(folder: Path, plan: gpd.GeoDataFrame, spec: DatasetSpec | ImportSpec, created: str, earth: str,
          earth_version: str, attributes: Mapping[str, Any], legend: Legend) -> None:
    # In memory first: zarr changes threads for each of some thousand small files, which takes longer than all the rest.
    files: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(files)
    root = zarr.open_group(memory, mode="w", zarr_format=3)
    rejected = plan.loc[plan["state"] == "rejected", "reason"].value_counts()
    root.attrs.put({  # one write, where update would make one for each key
        "dwplus_version": VERSION, "spec": json.loads(spec.to_json()),
        **(root_attributes(spec) if isinstance(spec, ImportSpec) else of_export(spec)), **attributes_of(legend),
        "created": created, "earth": earth, **({"earth_version": earth_version} if earth_version else {}),
        "plan": {"candidates": len(plan), "planned": int((plan["state"] == "planned").sum()),
                 "rejected": {str(k): int(v) for k, v in sorted(rejected.items())}},
        plan_rows.KEY: plan_rows.digests(plan[plan["state"] == "planned"]),
        **radar.attributes(json.loads(spec.to_json()), plan), "Conventions": "CF-1.11",
        "history": f"{created} made by dwplus {VERSION} from {earth}", **attributes,
    })
    planned = plan[plan["state"] == "planned"]
    columns: dict[str, str] = {}
    for biome, rows in planned.groupby("biome", sort=True):
        columns |= _make_group(root, int(biome), rows, spec, legend)
    with warnings.catch_warnings():
        # Consolidated metadata is not yet in the v3 specification; readers that do not know it pass over it, and
        # xarray opens a store of 14 groups in one read. It stays true: nothing but chunks is written from here on.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(memory)
    written = {name: content.to_bytes() for name, content in files.items()}
    meta = json.loads(written[ROOT])
    seal.close(meta, columns)
    written[ROOT] = seal.to_bytes(meta)
    for name, raw in written.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(raw)


def _make_group(root: zarr.Group, biome: int, rows: gpd.GeoDataFrame, spec: DatasetSpec | ImportSpec,
                legend: Legend) -> dict[str, str]:
    """Make a group; gives the digests of its fixed columns, by path."""
    group = root.create_group(group_name(biome))
    tiles, size, shard = len(rows), spec.tile.size, spec.store.shard_tiles
    arrays: list[str] = []
    fixed: dict[str, np.ndarray] = {}
    sealed: dict[str, str] = {}
    float_s1 = spec.store.s1_dtype == "float32"
    words = words_of_pixels(spec, legend)

    def pixels(name: str, dtype: str, bands: int | None, fill: Any, attrs: dict[str, Any]) -> None:
        middle = () if bands is None else (bands,)
        arrays.append(name)
        group.create_array(
            name, shape=(tiles, *middle, size, size), chunks=(1, *middle, size, size),
            shards=(shard, *middle, size, size), dtype=dtype, fill_value=fill, attributes=attrs,
            compressors=[BloscCodec(cname=spec.store.codec, clevel=spec.store.level, shuffle="bitshuffle",
                                    blocksize=BLOCK_BYTES), Crc32cCodec()],
            dimension_names=("tile", *(() if bands is None else (f"{name.split('_')[0]}_band",)), "y", "x"))

    pixels("s2", "uint16", len(spec.sentinel2.bands), S2_NODATA, {**words["s2"], "_FillValue": S2_NODATA})
    pixels("s1", spec.store.s1_dtype, len(spec.s1_bands), np.nan if float_s1 else S1_NODATA, {
        **words["s1"], **({} if float_s1 else {"scale_factor": S1_SCALE, "_FillValue": S1_NODATA})})
    pixels("label", "uint8", None, IGNORE, words["label"])
    if spec.triplets is not None:
        pixels("cloud", "uint8", None, UNKNOWN_CLOUD, {
            "long_name": f"cloud in s2, by {spec.triplets.cloud}; 255 = not known", "flag_values": [0, 1],
            "flag_meanings": "clear cloud"})
        if spec.triplets.keep_clear:
            pixels("s2_clear", "uint16", len(spec.sentinel2.bands), S2_NODATA, {
                "long_name": "Sentinel-2 reflectance of clear_id, the label's scene, as s2", "units": "1e-4",
                "_FillValue": S2_NODATA})
    for one in spec.extra_arrays:
        pixels(one.name, one.dtype, len(one.bands) or None, one.fill, one.attributes)

    checked = _checked()

    def column(name: str, values: Any, dim: str = "tile", attrs: dict[str, Any] | None = None) -> None:
        values = np.asarray(values)
        text = values.dtype.kind in "OUT"
        if text:
            values = np.array(["" if value is None or value != value else str(value) for value in values], object)
        # Chunks of nothing but zeros are written too: a chunk that is not there is damage.
        array = group.create_array(name, shape=values.shape, chunks=(max(1, len(values)),), compressors=checked,
                                   dtype=str if text else values.dtype, dimension_names=(dim,), attributes=attrs or {},
                                   fill_value="" if text else 0, config={"write_empty_chunks": True})
        array[...] = values
        sealed[f"{group.basename}/{name}"] = digests.of_values(values)
        if dim == "tile":
            fixed[name] = values

    column("s2_band", np.array(spec.sentinel2.bands, object), "s2_band")
    column("s1_band", np.array(spec.s1_bands, object), "s1_band")
    for one in spec.extra_arrays:
        if one.bands:
            column(f"{one.name}_band", np.array(one.bands, object), f"{one.name}_band")
    column("class", np.array(legend.classes, object), "class")
    centers = np.array([_center(row) for row in rows.itertuples()])
    column("lon", centers[:, 0], attrs={"units": "degrees_east", "standard_name": "longitude"})
    column("lat", centers[:, 1], attrs={"units": "degrees_north", "standard_name": "latitude"})
    for name in ("tile_id", "window", "label_id", "s2_id", "s1_id", "orbit_pass", "ecoregion"):
        column(name, rows[name].to_numpy(object))
    for name in MORE_TEXTS:
        if name in rows:
            column(name, rows[name].fillna("").to_numpy(object))
    if spec.triplets is not None:
        column("clear_id", rows["clear_id"].to_numpy(object))
        column("label_gap_hours", rows["label_gap_hours"].to_numpy("float64"),
               attrs={"units": "h", "long_name": "time of the label's scene minus that of s2, signed"})
    if filtered := isinstance(spec, DatasetSpec) and spec.sentinel1.multitemporal:
        column("speckle_ids", rows["speckle_ids"].to_numpy(object), attrs={
            "long_name": "further passes of the speckle filter, by semicolons; slices of a pass by commas"})
    for name in IN_SCENE:
        if name in rows:
            column(name, rows[name].to_numpy("int32"), attrs={"units": "1", "long_name": "of the tile's upper left "
                                                              "pixel in its scene"})
    column("epsg", rows["epsg"].to_numpy("int32"), attrs={} if biome else {"long_name": "0 = no place is known"})
    for name in ("x0", "y0"):
        column(name, rows[name].to_numpy("float64"), attrs={"units": "m", "long_name": "upper-left corner of the tile"})
    column("gap_hours", rows["gap_hours"].to_numpy("float64"),
           attrs={"units": "h", "long_name": "S1 time minus S2 time, signed"})
    for name in ("s2_time", "s1_time"):
        milliseconds = rows[name].to_numpy("datetime64[ms]").astype("int64")
        column(name, milliseconds, attrs={"units": "milliseconds since 1970-01-01T00:00:00",
                                          "calendar": "proleptic_gregorian"})
    column("s1_count", rows["s1_count"].to_numpy("int32"), attrs={"long_name": "passes averaged"})
    column("s2_cloud", rows["s2_cloud"].to_numpy("float32"), attrs={"units": "percent"})
    column("relative_orbit", rows["relative_orbit"].to_numpy("int32"), attrs={"long_name": "-1 = unknown or mixed"})
    column("biome", rows["biome"].to_numpy("uint8"))
    column("coastal", rows["coastal"].to_numpy("uint8"),
           attrs={"long_name": "1: outside its ecoregion's polygon, the nearest was taken"})
    split = np.array([SPLIT_FLAGS.index(s) for s in rows["split"]], "uint8")
    column("split", split, attrs=split_attributes(split))

    def dynamic(name: str, dtype: Any, fill: Any, attrs: dict[str, Any], tail: tuple[int, ...] = (),
                dims: tuple[str, ...] = ()) -> None:
        # One chunk a shard: whoever owns the shard is the only writer of its rows.
        group.create_array(name, shape=(tiles, *tail), chunks=(shard, *tail), dtype=dtype, fill_value=fill,
                           compressors=checked, attributes=attrs, dimension_names=("tile", *dims))

    sealed |= add_digest_arrays(group, fixed, arrays, tiles, shard)
    dynamic("status", "uint8", PENDING, _flags(STATUSES))
    dynamic("reason", str, "", {"long_name": "why a tile was rejected or failed"})
    dynamic("valid_fraction", "float32", 0.0, {"units": "1", "long_name": "share of pixels with label, S2 and S1"})
    dynamic("class_counts", "int32", 0, {"long_name": "labelled pixels per class"}, (len(legend),), ("class",))
    if spec.triplets is not None:
        dynamic("cloud_fraction", "float32", np.nan, {"units": "1", "long_name": "share of the tile that is cloud"})
        dynamic("stratum", "int8", -1, {"long_name": "of cloud_fraction, -1 = not known", **_flags(STRATUM_NAMES)})
    group.attrs.put({
        "biome": biome, "biome_name": BIOMES.get(biome, "not known"), "scale": spec.tile.scale,
        "coordinates": "tile_id window lon lat epsg x0 y0 label_id s2_id s1_id s2_time s1_time gap_hours s1_count "
                       "s2_cloud orbit_pass relative_orbit biome ecoregion coastal split status reason valid_fraction"
                       + "".join(f" {name}" for name in (*MORE_TEXTS, *IN_SCENE) if name in rows)
                       + " clear_id label_gap_hours cloud_fraction stratum" * (spec.triplets is not None)
                       + " speckle_ids" * filtered
                       + f" {digests.ROW}"})
    return sealed


def _checked() -> list[Any]:
    """Codecs of columns, which are under a checksum like the pixels: `verify` finds a flipped byte anywhere."""
    return [ZstdCodec(level=1), Crc32cCodec()]


def add_digest_arrays(group: zarr.Group, fixed: Mapping[str, np.ndarray], arrays: Sequence[str], tiles: int,
                      shard: int) -> dict[str, str]:
    """Make the columns of digests: those of the rows whole, those of pixels and outcomes empty.

    Parameters
    ----------
    fixed : columns that are fixed when a store is made. arrays : names of the arrays of pixels.

    Returns
    -------
    Digests of the two columns that are fixed themselves, by path.
    """
    names, sealed = np.array(digests.names_of(arrays), object), {}
    about: dict[str, Any] = {"long_name": f"{digests.ALGORITHM} of all that is fixed of a tile, but its split"}
    for name, values, dim, attrs in ((digests.ROW, digests.of_rows(fixed), "tile", about),
                                     (digests.NAMES, names, digests.NAMES, {})):
        array = group.create_array(name, shape=values.shape, chunks=(max(1, len(values)),), compressors=_checked(),
                                   dtype=str, dimension_names=(dim,), attributes=attrs, fill_value="",
                                   config={"write_empty_chunks": True})
        array[...] = values
        sealed[f"{group.basename}/{name}"] = digests.of_values(values)
    group.create_array(
        digests.DIGESTS, shape=(tiles, len(names)), chunks=(shard, len(names)), dtype=str, fill_value="",
        compressors=_checked(), dimension_names=("tile", digests.NAMES), attributes={
            "long_name": f"{digests.ALGORITHM} of tile_digest with what became of the tile, and with each array's "
                         "values"})
    return sealed


def split_attributes(split: np.ndarray) -> dict[str, Any]:
    """CF attributes of a column of splits; the guard is named only where it is used."""
    return _flags(SPLIT_FLAGS if (split >= len(SPLITS)).any() else SPLITS)


def _flags(names: Iterable[str]) -> dict[str, Any]:
    names = tuple(names)
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}


def _center(row: Any) -> tuple[float, float]:
    from dwplus.grid import PixelGrid

    if row.epsg == 0:  # no place, or one that is known of the centre alone
        return float(getattr(row, "lon", np.nan)), float(getattr(row, "lat", np.nan))
    return PixelGrid(row.epsg, row.x0, row.y0, row.scale, row.size, row.size).center
