"""A store as tar files of samples, as WebDataset reads them: arrays as ``.npy``, the tile's columns as ``.json``."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dwplus.errors import InputError
from dwplus.runtime.paths import check_new, new_folder
from dwplus.spec.extras import NAMES
from dwplus.store import layout
from dwplus.store.legend import attributes_of, legend_of, units_of
from dwplus.store.reader import tile_table
from dwplus.store.tiles import TileReader

#: Samples of a file, by default: some 200 MB of tiles of 512 px.
PER_FILE = 64


def export_tar(store: str | Path, out: str | Path, *, split: str = "all", per_file: int = PER_FILE,
               progress: Callable[[int, int], None] = lambda *_: None) -> list[Path]:
    """Write the exported tiles of a store as ``<split>-NNNNNN.tar`` and ``dataset.json``.

    A sample is ``<key>.s2.npy`` (uint16, 65535 = no data), ``<key>.s1.npy`` (int16 hundredths or float32, as stored),
    ``<key>.label.npy`` (uint8, 255 = ignore), the store's extras as stored, and ``<key>.json`` (the tile's columns);
    the key is the tile's id, with its window where a tile is there for several. The same store gives the same bytes.

    Parameters
    ----------
    split : ``train``, ``val``, ``test`` or ``all``. per_file : samples of a file.

    Raises
    ------
    InputError
        Where nothing is exported, or the folder is there and not empty.
    """
    out = Path(out)
    check_new(out)
    attributes = layout.open_root(store).attrs.asdict()
    table = tile_table(store)
    table = table[table["status"] == "exported"]
    if split != "all":
        table = table[table["split"] == split]
    if not len(table):
        raise InputError(f"store {store}: has no exported tile in split {split}")
    twice = table["tile_id"].duplicated(keep=False)
    reader, root = TileReader(store, exported=True), layout.open_root(store)
    done = 0
    with new_folder(out) as partial:
        for word, rows in table.groupby("split", observed=True, sort=True):
            for number, start in enumerate(range(0, len(rows), per_file)):
                with tarfile.open(partial / f"{word}-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                    for index, row in rows.iloc[start:start + per_file].iterrows():
                        key = _key(row, bool(twice[index]))
                        for suffix, content in _parts(reader, row):
                            _add(tar, f"{key}.{suffix}", content)
                        done += 1
                        progress(done, len(table))
        first = str(table["group"].iat[0])
        bands = {sensor: [str(b) for b in np.asarray(root[f"{first}/{sensor}_band"])] for sensor in ("s2", "s1")}
        (partial / "dataset.json").write_text(json.dumps({
            **attributes_of(legend_of(attributes, f"store {store}")), "s2_band": bands["s2"], "s1_band": bands["s1"],
            "band_units": units_of(attributes, bands["s2"], bands["s1"]), "s1_scale_factor": layout.S1_SCALE,
            "nodata": {"s2": layout.S2_NODATA, "s1": layout.S1_NODATA, "label": 255},
            **_said_of_extras(root, first),
            "license": attributes.get("license"), "title": attributes.get("title"), "samples": len(table)}, indent=2)
            + "\n")
    return sorted(out.glob("*.tar"))


def _said_of_extras(root: zarr.Group, group: str) -> dict[str, Any]:
    """What each extra says of itself, and its no data; nothing where there is none."""
    found = {name: array for name in NAMES if isinstance(array := root.get(f"{group}/{name}"), zarr.Array)}
    said = {name: {**array.attrs.asdict(), "nodata": None if array.fill_value != array.fill_value else
                   int(array.fill_value), "dtype": str(array.dtype)} for name, array in found.items()}
    return {"extras": said} if said else {}


def _key(row: Any, several: bool) -> str:
    # WebDataset takes what stands before the first dot for the key.
    name = f"{row['tile_id']}_{row['window']}_{row['label_id']}" if several else str(row["tile_id"])
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def _parts(reader: TileReader, row: Any) -> Iterator[tuple[str, bytes]]:
    group, index = str(row["group"]), int(row["index"])
    for name in reader.formats(group):
        file = io.BytesIO()
        np.save(file, reader.array(group, name, index), allow_pickle=False)
        yield f"{name}.npy", file.getvalue()
    about = {str(key): _plain(value) for key, value in row.items() if key not in ("group", "index")}
    yield "json", json.dumps(about, sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | bool) else None if str(value) == "NaT" else str(value)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o644, 0
    tar.addfile(entry, io.BytesIO(content))
