"""The image of one tile: label, Sentinel-2 and Sentinel-1 in one stack, each band with its own type and fill."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import ee
import numpy as np

from dwplus.earth import pixels
from dwplus.earth.bundles import band_sizes, bundles
from dwplus.earth.images import clouds, dw_labels, dynamic_world, extras, maps, rtc, sentinel1, sentinel2
from dwplus.earth.session import Session
from dwplus.grid import PixelGrid
from dwplus.scenes.annotated import read_labels
from dwplus.scenes.records import passes_of
from dwplus.spec import DatasetSpec
from dwplus.spec.extras import INPUTS, Extra, as_input
from dwplus.taxonomy import IGNORE

#: Rows of a tile that fit a core's cache: 32 of 510 pixels and 25 bytes are 0.4 MB.
ROWS = 32
#: The extra whose bands may be shared out among requests; they come last.
SHARED = "embedding"


@dataclass(frozen=True)
class TilePixels:
    """Pixels of one tile.

    Attributes
    ----------
    s2 : uint16 (s2_band, y, x), DN, 65535 = no data.
    s1 : int16 (s1_band, y, x), hundredths of dB, -32768 = no data; or float32 dB, NaN = no data.
    label : uint8 (y, x), 0..8, 255 = ignore.
    cloud : of triplets, the mask of ``s2``: uint8 (y, x), 0 clear, 1 cloud, 255 not known.
    s2_clear : of triplets that keep it, the label's scene, as ``s2``.
    extras : by name, as stored, see :mod:`dwplus.spec.extras`.
    """

    s2: np.ndarray
    s1: np.ndarray
    label: np.ndarray
    cloud: np.ndarray | None = None
    s2_clear: np.ndarray | None = None
    extras: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TileAnswer:
    """What Earth Engine answered for a tile, as it came.

    Attributes
    ----------
    bands : structured (y, x). groups : their names, by attribute of :class:`TilePixels`.
    annotated : labels of annotations in a folder, which are not in the answer.
    extras : of the spec. more : further answers with the embedding's last bands, where one request could not hold them.
    """

    bands: np.ndarray
    groups: dict[str, Sequence[str]]
    annotated: np.ndarray | None
    extras: Sequence[Extra] = ()
    more: Sequence[np.ndarray] = ()

    def pixels(self) -> TilePixels:
        """The answer taken apart: work for a core (:attr:`dwplus.earth.Session.cpu`)."""
        here = self.bands.dtype.names or ()
        groups = {name: own for name, names in self.groups.items() if (own := [n for n in names if n in here])}
        found = dict(zip(groups, planes(self.bands, *groups.values()), strict=True))
        if self.more:
            parts = [planes(answer, answer.dtype.names or ())[0] for answer in self.more]
            found[SHARED] = np.concatenate([found[SHARED], *parts] if SHARED in found else parts)
        return TilePixels(found["s2"], found["s1"], found["label"][0] if self.annotated is None else self.annotated,
                          found["cloud"][0] if "cloud" in found else None, found.get("s2_clear"),
                          {one.name: one.stored(found[one.name]) for one in self.extras})


def fetch_tile(session: Session, spec: DatasetSpec, grid: PixelGrid, label_id: str, s2_id: str,
               s1_ids: list[str], product: str | None = None, clear_id: str = "", speckle_ids: str = "") -> TilePixels:
    """All pixels of a tile: :func:`request_tile`, taken apart."""
    answer = request_tile(session, spec, grid, label_id, s2_id, s1_ids, product, clear_id, speckle_ids)
    with session.cpu:
        return answer.pixels()


def request_tile(session: Session, spec: DatasetSpec, grid: PixelGrid, label_id: str, s2_id: str,
                 s1_ids: list[str], product: str | None = None, clear_id: str = "",
                 speckle_ids: str = "") -> TileAnswer:
    """Ask for all pixels of a tile in one request (more only where the tile exceeds the limits).

    Parameters
    ----------
    label_id, s2_id, s1_ids : ``system:index`` of the scenes, as the plan pins them. Of annotations in a folder
        ``label_id`` is the file's path below it; of a mode composite it is the comma-joined scenes. Products of one
        sensing, comma-joined in ``label_id`` or ``s2_id``, are put together.
    product : Sentinel-2 product of this tile, ``sr`` or ``toa``; None for the spec's.
    clear_id : of triplets, the label's own Sentinel-2 scene.
    speckle_ids : of the filter over time, the further passes, see :func:`dwplus.scenes.records.passes_of`.

    Raises
    ------
    EarthError
        As :func:`dwplus.earth.pixels.fetch`.
    """
    annotated = None if spec.labels.path is None else read_labels(spec.labels.path, label_id, grid)
    image, dtype, groups = _tile_image(spec, label_id, s2_id, tuple(s1_ids), product, clear_id, speckle_ids,
                                       grid if spec.extras or spec.sentinel1.sloped else None)
    base, alike = band_sizes(spec)
    first, *rest = bundles(*grid.shape, base, alike)
    if not rest:
        return TileAnswer(pixels.fetch(session, image, grid, dtype), groups, annotated, spec.extra_arrays)
    answers, start = [], 0
    for count in (len(base) + first, *rest):
        names = list(dtype.names or ())[start:start + count]
        start += count
        part = np.dtype([(name, dtype[name]) for name in names])
        answers.append(pixels.fetch(session, image.select(names), grid, part))
    return TileAnswer(answers[0], groups, annotated, spec.extra_arrays, answers[1:])


@functools.lru_cache(maxsize=256)
def _tile_image(spec: DatasetSpec, label_id: str, s2_id: str, s1_ids: tuple[str, ...], product: str | None,
                clear_id: str, speckle_ids: str,
                place: PixelGrid | None) -> tuple[ee.Image, np.dtype, dict[str, Sequence[str]]]:
    """The image, the types of its bands and their groups; kept, for many tiles of a region lie in the same scenes and
    the client takes 1 ms to put it together. Extras and heights are looked for at the tile's ``place``."""
    image, fields = _sensors(spec, place, s2_id, s1_ids, product, speckle_ids)
    bands = spec.sentinel2.bands
    groups: dict[str, Sequence[str]] = {"s2": bands, "s1": spec.s1_bands}
    if spec.labels.path is None:
        image = image.addBands(label_image(spec, label_id))
        fields.append(("label", np.dtype("u1")))
        groups["label"] = ("label",)
    if spec.triplets is not None:
        image = image.addBands(clouds.cloud(spec.triplets.cloud, s2_id))
        fields.append(("cloud", np.dtype("u1")))
        groups["cloud"] = ("cloud",)
        if spec.triplets.keep_clear:
            groups["s2_clear"] = [f"clear_{band}" for band in bands]
            image = image.addBands(sentinel2.reflectance(clear_id, product or spec.sentinel2.product, bands)
                                   .rename(groups["s2_clear"]))
            fields += [(name, np.dtype("<u2")) for name in groups["s2_clear"]]
    if place is not None:
        for one in sorted(spec.extra_arrays, key=_shared_last):
            image = image.addBands(extras.image(one, place, s2_id, clear_id or s2_id))
            fields += [(name, np.dtype(one.wire)) for name in one.wire_bands]
            groups[one.name] = one.wire_bands
    return image, np.dtype(fields), groups


def _shared_last(one: Extra) -> bool:
    return one.name == SHARED


def fetch_inputs(session: Session, spec: DatasetSpec, grid: PixelGrid, s2_id: str, s1_ids: list[str],
                 product: str | None = None, mask_id: str = "", with_extras: bool = False,
                 speckle_ids: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """What a network looks at, without labels: Sentinel-2 and Sentinel-1 as in :class:`TilePixels`.

    Parameters
    ----------
    mask_id : a Dynamic World V1 image (comma-joined, several of one sensing) whose mask (clouds, shadows, the scene's
        edge) is wanted as well.
    with_extras : whether the spec's extras are further bands behind Sentinel-2's, see
        :func:`dwplus.spec.extras.as_input`.
    speckle_ids : as of :func:`request_tile`.

    Returns
    -------
    s2, s1, and bool (y, x): where that image is not masked; None without ``mask_id``.

    Raises
    ------
    EarthError
        As :func:`dwplus.earth.pixels.fetch`.
    """
    image, fields = _sensors(spec, grid, s2_id, s1_ids, product, speckle_ids)
    if mask_id:
        image = image.addBands(dynamic_world.label(mask_id.split(",")))
        fields.append(("label", np.dtype("u1")))
    wanted = [one for one in spec.extra_arrays if one.name in INPUTS] if with_extras else []
    for one in wanted:
        image = image.addBands(extras.image(one, grid, s2_id, s2_id))
        fields += [(name, np.dtype(one.wire)) for name in one.wire_bands]
    answer = pixels.fetch(session, image, grid, np.dtype(fields))
    with session.cpu:
        s2, s1, *more = planes(answer, spec.sentinel2.bands, spec.s1_bands, *(one.wire_bands for one in wanted))
        if wanted:
            s2 = np.concatenate([s2, *(as_input(one, one.stored(found))
                                       for one, found in zip(wanted, more, strict=True))])
        return s2, s1, answer["label"] != IGNORE if mask_id else None


def edges_of(spec: DatasetSpec) -> sentinel1.Edges:
    """How a spec masks border noise."""
    quality = spec.quality
    return sentinel1.Edges(quality.s1_edges, quality.s1_edge_db, quality.s1_edge_angles, quality.s1_edge_erode)


def ground_of(spec: DatasetSpec, grid: PixelGrid | None) -> sentinel1.Ground:
    """What a spec does about slopes, which take heights around ``grid``, and about speckle."""
    radar = spec.sentinel1
    ground = sentinel1.Ground(radar.terrain_model if radar.terrain == "flattened" else "none", radar.terrain_buffer,
                              radar.keep, radar.speckle, radar.speckle_window, radar.speckle_looks)
    if not ground.sloped:
        return ground
    assert grid is not None
    return dataclasses.replace(ground, height=extras.elevation(extras.area_of(grid), spec.elevation))


def _sensors(spec: DatasetSpec, grid: PixelGrid | None, s2_id: str, s1_ids: Sequence[str],
             product: str | None, speckle_ids: str) -> tuple[ee.Image, list[tuple[str, np.dtype]]]:
    """Image of both sensors, and the types of its bands."""
    if spec.sentinel1.product == "rtc":
        radar = rtc.backscatter(s1_ids, more=spec.s1_bands[2:], dtype=spec.store.s1_dtype)
    else:
        further = passes_of(speckle_ids) if spec.sentinel1.multitemporal else ()
        radar = sentinel1.backscatter(
            s1_ids, policy=spec.sentinel1.policy, average=spec.sentinel1.average, edges=edges_of(spec),
            keep_angle=spec.sentinel1.keep_angle, dtype=spec.store.s1_dtype, ground=ground_of(spec, grid),
            further=further)
    image = sentinel2.reflectance(s2_id, product or spec.sentinel2.product, spec.sentinel2.bands).addBands(radar)
    return image, [*((band, np.dtype("<u2")) for band in spec.sentinel2.bands),
                   *((band, np.dtype(spec.store.s1_dtype)) for band in spec.s1_bands)]


def planes(answer: np.ndarray, *groups: Sequence[str]) -> list[np.ndarray]:
    """Bands of a structured array (y, x) as arrays (band, y, x), one for each group of neighbouring names of one type;
    what is no data in a float band of backscatter becomes NaN.

    Some rows at a time, so that what is read for one band is still in the cache for the next: twice as fast as a whole
    band after the other. All bands of a group in one operation, for each operation lets other threads in.
    """
    assert answer.dtype.fields is not None
    out, parts = [], []
    for names in groups:
        dtype, offset = answer.dtype.fields[names[0]][:2]
        assert [answer.dtype.fields[name][:2] for name in names] == [
            (dtype, offset + i * dtype.itemsize) for i in range(len(names))]
        out.append(np.empty((len(names), *answer.shape), dtype))
        parts.append(np.ndarray(out[-1].shape, dtype, answer, offset, (dtype.itemsize, *answer.strides)))
    for top in range(0, len(answer), ROWS):
        rows = slice(top, top + ROWS)
        for target, part in zip(out, parts, strict=True):
            target[:, rows] = part[:, rows]
    for target in out:
        if target.dtype.kind == "f":
            target[target == sentinel1.NODATA["float32"]] = np.nan
    return out


def label_image(spec: DatasetSpec, label_id: str) -> ee.Image:
    """Band ``label`` (uint8: places of the spec's class table, 255 = ignore) of a plan's ``label_id``, from the spec's
    label source."""
    if spec.labels.source == "asset":
        assert spec.labels.asset is not None
        return maps.label(spec.labels.asset, spec.labels.band_name, label_id.split(","), spec.labels.labels_by_code)
    if spec.labels.asset is not None:
        return dw_labels.label(spec.labels.asset, label_id)
    return dynamic_world.label(label_id.split(","), spec.labels.min_confidence)
