"""``tiles.parquet``: a row per tile of a finished store, so that others need one object to know what is there.

GeoParquet 1.1 with a covering bounding box (https://geoparquet.org/releases/v1.1.0/), footprints within -180..180. Who
holds the store writes it when nothing is pending any more, and removes it before anything changes; the root names its
digest, so that a table of another store, or of another day, is not taken for its own.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import shapely

from dwplus.grid import transformer
from dwplus.store import columns, digests, layout, seal, stops, writer
from dwplus.store.places import Folder, Place, place_of
from dwplus.store.web import source_of

FILE = "tiles.parquet"
#: Root attribute that names the table: number of rows, digest of the file.
KEY = columns.FINISHED
_WORDS = ("status", "split")
_TIMES = ("s1_time", "s2_time")


def finish(store: str | Path, still_ours: Callable[[], None] = lambda: None) -> bool:
    """Write the table of a store in which nothing is pending; for who holds the store.

    Parameters
    ----------
    still_ours : raises where the hold was lost.

    Returns
    -------
    Whether the store has a table now: stores of earlier builds, and unfinished ones, have none.

    Raises
    ------
    StopError
        Where it cannot be written.
    """
    try:
        return _finish(store, place_of(store), still_ours)
    except OSError as error:
        raise stops.stopped(store, error) from error


def _finish(store: str | Path, place: Place, still_ours: Callable[[], None]) -> bool:
    meta = json.loads(place.read("zarr.json"))
    if seal.KEY not in meta["attributes"]:
        return False
    if is_there(store, meta["attributes"]):
        return True
    table = whole(store)
    if (table["status"] == layout.PENDING).any():
        return False
    content = to_bytes(columns.decoded(store, table), meta["attributes"]["spec"])
    meta["attributes"][KEY] = {"rows": len(table), "digest": _digest(content)}
    seal.reseal(meta)
    still_ours()
    place.write(FILE, [content])
    place.write("zarr.json", [seal.to_bytes(meta)])
    return True


def drop(store: str | Path) -> bool:
    """Remove the table, for who holds the store and is about to change it; the root first, which names it. Gives
    whether there was one.

    Raises
    ------
    StopError
        Where it cannot be written.
    """
    place = place_of(store)
    try:
        meta = json.loads(place.read("zarr.json"))
        if had := meta["attributes"].pop(KEY, None) is not None:
            seal.reseal(meta)
            place.write("zarr.json", [seal.to_bytes(meta)])
        if seal.KEY in meta["attributes"]:
            place.remove(FILE)
    except OSError as error:
        raise stops.stopped(store, error) from error
    return had


def is_there(store: str | Path, attributes: dict[str, Any]) -> bool:
    """Whether the table that the root names is there, to the byte."""
    try:
        return bool(_digest(place_of(store).read(FILE)) == attributes[KEY]["digest"])
    except (OSError, KeyError, TypeError):
        return False


def whole(store: str | Path) -> pd.DataFrame:
    """All columns of a store as stored, with the digests of its tiles; as :func:`dwplus.store.columns.read_columns`."""
    table = columns.read_columns(store)
    root = layout.open_root(store)
    found = [columns.digests_of(layout.group_of(root, name)) for name in layout.biome_groups(root)]
    return pd.concat([table, pd.concat(found, ignore_index=True)], axis=1)


def to_bytes(table: pd.DataFrame, spec: Any) -> bytes:
    """The file: the same bytes for the same tiles.

    Parameters
    ----------
    table : of :func:`whole`, decoded. spec : of the store, as its root has it.
    """
    table = table.astype({name: str for name in _WORDS})
    shapes = footprints(table, int(spec["tile"]["size"]) * float(spec["tile"]["scale"]))
    into = io.BytesIO()
    gpd.GeoDataFrame(table, geometry=shapes, crs="OGC:CRS84").to_parquet(
        into, index=False, compression="zstd", write_covering_bbox=True, schema_version="1.1.0")
    return into.getvalue()


def _digest(content: bytes) -> str:
    return digests.of_values(np.frombuffer(content, "u1"))


def footprints(table: pd.DataFrame, side: float) -> np.ndarray:
    """Outlines of tiles in degrees, each side in four pieces, cut in two where they cross the antimeridian.

    Parameters
    ----------
    table : with ``epsg``, ``x0``, ``y0``. side : of a tile, m.
    """
    found = np.empty(len(table), object)
    x0, y0, epsg = (table[name].to_numpy() for name in ("x0", "y0", "epsg"))
    for zone in np.unique(epsg[epsg != 0]):  # 0: no place is known, and none is drawn
        here = np.flatnonzero(epsg == zone)
        boxes = shapely.segmentize(shapely.box(x0[here], y0[here] - side, x0[here] + side, y0[here]), side / 4)
        back = transformer(int(zone), 4326)
        found[here] = shapely.transform(boxes, lambda xy, back=back: np.column_stack(back.transform(*xy.T)))
    west, _, east, _ = shapely.bounds(found).T
    for i in np.flatnonzero(east - west > 180):
        # Longitudes jump from 180 to -180: run on past 180, then cut there.
        on = shapely.transform(found[i], lambda xy: np.column_stack([xy[:, 0] % 360.0, xy[:, 1]]))
        parts = [shapely.intersection(on, shapely.box(0, -90, 180, 90)),
                 shapely.transform(shapely.intersection(on, shapely.box(180, -90, 360, 90)), lambda xy: xy - (360, 0))]
        found[i] = shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])
    return found


def read(path: str | Path, attributes: dict[str, Any]) -> pd.DataFrame | None:
    """The table of tiles from the file, as :func:`dwplus.store.reader.tile_table` gives it from the columns.

    Parameters
    ----------
    attributes : of the root.

    Returns
    -------
    None where there is none that belongs to the store.
    """
    if not isinstance(named := attributes.get(KEY), dict):
        return None
    try:
        content = source_of(path).read(FILE)
        if _digest(content) != named.get("digest"):
            return None
        table = pd.read_parquet(io.BytesIO(content)).drop(columns=["geometry", "bbox"], errors="ignore")
    except (OSError, ValueError, TypeError, pyarrow.ArrowException):
        return None
    for name, words in (("status", layout.STATUSES), ("split", layout.SPLIT_FLAGS)):
        table[name] = pd.Categorical(table[name], categories=list(words))
    # The very types that the columns are decoded to.
    table = table.astype({name: str for name in table if table[name].dtype == object})
    kind = pd.to_datetime(pd.Series([0]), unit="ms", utc=True).dtype
    table = table.astype({name: kind for name in _TIMES if name in table})
    return table.drop(columns=[name for name in table if str(name).startswith("digest_")])


def check(place: Folder | Any, attributes: dict[str, Any], table: pd.DataFrame | None) -> str:
    """What is wrong with the file of a store, in words; empty where nothing is.

    Parameters
    ----------
    table : of :func:`whole`, put together by who has read the columns; None where they could not be read.
    """
    named = attributes.get(KEY)
    try:
        content = place.read(FILE)
    except FileNotFoundError:
        return "" if named is None else "is missing"
    except OSError as error:
        return f"cannot be read ({type(error).__name__}: {error})"
    if not isinstance(named, dict):
        return "is there, but the root does not name it"
    if _digest(content) != named.get("digest"):
        return "is not the one that the root names"
    if table is None:
        return ""
    try:
        found = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        return f"cannot be read ({type(error).__name__}: {error})"
    if len(found) != len(table) or named.get("rows") != len(table):
        return f"has {len(found)} rows, the store {len(table)} tiles"
    return next((f"its column {name} is not the store's" for name in table
                 if name not in found or not _alike(found[str(name)], table[name], str(name))), "")


def _alike(file: pd.Series, store: pd.Series, name: str) -> bool:
    if name in _WORDS:
        words = layout.STATUSES if name == "status" else layout.SPLIT_FLAGS
        codes = store.to_numpy()
        return bool((codes < len(words)).all()) and file.tolist() == [words[int(code)] for code in codes]
    if name in _TIMES:
        # NaT is the smallest number in both.
        return bool((file.dt.tz_localize(None).to_numpy("datetime64[ms]").astype("int64") == store.to_numpy()).all())
    if store.dtype.kind == "f":
        return bool(np.array_equal(file.to_numpy(), store.to_numpy(), equal_nan=True))
    return bool(file.tolist() == store.tolist())


def has_digests(root: Any) -> bool:
    """Whether a store was made with digests."""
    return any(writer.has_digests(layout.group_of(root, name)) for name in layout.biome_groups(root))
