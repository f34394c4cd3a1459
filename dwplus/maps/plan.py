"""What a map is made of, before a pixel is fetched: its spec, its blocks, and the ground it may show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import geopandas as gpd
import shapely

from dwplus.earth import Session
from dwplus.earth.tables import Habitat
from dwplus.errors import InputError
from dwplus.grid import Tile, covering_tiles, zone_pieces
from dwplus.maps import edges
from dwplus.maps.blocks import Block
from dwplus.planning.candidates import Candidate
from dwplus.planning.plan import make_plan
from dwplus.spec import SR_BANDS, TOA_BANDS, DatasetSpec, make_spec
from dwplus.store.legend import DECIBEL, DEGREE, DISPLAY, REFLECTANCE

#: Sections of a spec that decide what the network sees: where a region does not set them, they are those of the
#: training data.
SENSORS = ("sentinel1", "sentinel2", "quality", "store")


def map_spec(region: DatasetSpec, trained: dict[str, Any], dates: int | None,
             extras: Sequence[str] = ()) -> DatasetSpec:
    """The spec of a map: the ground and dates of a region, everything else as in training unless the region says it.

    Every tile is wanted, whatever its biome, and a label's only use is to name the Sentinel-2 scene.

    Parameters
    ----------
    trained : spec of the store the network was trained on, exported or imported. dates : per block; None for all.
    extras : what the network takes beside both sensors.

    Raises
    ------
    InputError
        Where the region's labels are drawn tiles, which cover no region; where Earth Engine has no such bands as an
        imported set.
    """
    if trained.get("kind") == "import":
        trained = sections_of(trained)
    if region.labels.source != "dynamic-world-v1":
        kind = ("tiles annotated by people here and there" if region.labels.source == "annotations" else
                "a map of classes without scenes of its own")
        raise InputError(f"REGION: its labels.source is {region.labels.source}, {kind}; a map needs dynamic-world-v1, "
                         "which names every Sentinel-2 scene")
    raw = region.model_dump(mode="json")
    for key in SENSORS:
        if key not in region.model_fields_set and key in trained:
            raw[key] = dict(trained[key])
    if "tile" not in region.model_fields_set and "tile" in trained:
        raw["tile"] = {**trained["tile"], "grid": "utm"}
    raw["labels"] = {"per_window": "best" if dates == 1 else "all"}
    raw["sampling"] = {"per_biome": None}
    raw["extras"] = list(extras)
    if "elevation" not in region.model_fields_set:
        raw.pop("elevation")
        radar = raw["sentinel1"]
        sloped = radar.get("product", "grd") == "grd" and (radar.get("terrain", "none") != "none" or radar.get("keep"))
        if "elevation" in trained and (sloped or "dem" in extras):
            raw["elevation"] = trained["elevation"]
    if "embedding" not in extras:
        raw["store"].pop("embedding_dtype", None)
    return make_spec(raw, "REGION")


def sections_of(trained: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a spec that give the bands of an imported set, by their names and units.

    The product is L2A, or L1C where B10 is among the bands, which L2A lacks; a region's own spec may say another.

    Parameters
    ----------
    trained : spec of the imported store (:class:`dwplus.store.imported.ImportSpec`).

    Raises
    ------
    InputError
        Where a band is a picture's, or of no name that Earth Engine's products have.
    """
    optical, radar = (list(trained[sensor]["bands"]) for sensor in ("sentinel2", "sentinel1"))
    units, name = trained["band_units"], trained["name"]
    where = f"run: was trained on {name}, and Earth Engine cannot give"
    otherwise = "evaluate the run on its own set, or map with a run of Sentinel-2 reflectance and Sentinel-1 in dB"
    for band in (*optical, *radar):
        if units.get(band) == DISPLAY:
            raise InputError(f"{where} its band {band}: its values are grey values for display, without physical "
                             f"meaning; {otherwise}")
    if unknown := [band for band in optical if band not in TOA_BANDS or units.get(band, REFLECTANCE) != REFLECTANCE]:
        raise InputError(f"{where} its band {unknown[0]}: Sentinel-2 has {', '.join(TOA_BANDS)}; {otherwise}")
    if radar not in (["VV", "VH"], ["VV", "VH", "angle"]) or any(
            units.get(band, DECIBEL) not in (DECIBEL, DEGREE) for band in radar):
        raise InputError(f"{where} its radar bands {', '.join(radar)}: a map takes VV and VH in dB, and angle; "
                         f"{otherwise}")
    tile = {key: trained["tile"][key] for key in ("size", "scale")}
    return {"sentinel2": {"bands": optical, "product": "sr" if set(optical) <= set(SR_BANDS) else "toa"},
            "sentinel1": {"keep_angle": "angle" in radar}, "tile": tile}


def plan_blocks(session: Session, spec: DatasetSpec, shapes: Sequence[shapely.Geometry],
                progress: Callable[[str], None]) -> gpd.GeoDataFrame:
    """A plan of every tile that touches the region, paired as for an export.

    An export drops tiles whose centre lies at sea, for want of a biome; a map keeps them: a coast would have holes.

    Raises
    ------
    InputError
        Where no tile can be paired; the sentence counts the reasons.
    """
    if spec.tile.grid == "label":
        return make_plan(session, spec, progress)
    tiles: dict[str, Tile] = {}
    for shape in shapes:
        try:
            tiles |= {tile.id: tile for tile in covering_tiles(shape, spec.tile.size, spec.tile.scale)}
        except ValueError as error:
            raise InputError(f"region: {error}") from None
    nowhere = Habitat(0, "", False)
    return make_plan(session, spec, progress, [Candidate(tile, nowhere, "test", 0.0) for tile in tiles.values()])


def clip_of(shapes: Sequence[shapely.Geometry], own_grids: Iterable[int] = ()) -> dict[int, shapely.Geometry]:
    """The region in each zone it touches, in that zone's metres: zones share no ground, so that none is shown twice.

    Parameters
    ----------
    own_grids : zones of blocks that were cut from label images' own grids, where they reach over into a neighbour's
        ground and share none among themselves: the region's ground in the neighbouring zones is theirs as well.
    """
    found: dict[int, list[shapely.Geometry]] = {}
    own = set(own_grids)
    for shape in shapes:
        for epsg, piece in zone_pieces(shape):
            beside = [zone for zone in own if (zone % 100 - epsg % 100 + 2) % 60 <= 4] if own else [epsg]
            for zone in beside:
                found.setdefault(zone, []).append(edges.in_metres(piece, zone))
    return {epsg: shapely.union_all(parts) for epsg, parts in found.items()}


def touching(blocks: Sequence[Block], clip: dict[int, shapely.Geometry]) -> list[Block]:
    """The blocks that share ground with a region."""
    for piece in clip.values():
        shapely.prepare(piece)
    return [b for b in blocks if b.grid.epsg in clip and shapely.intersects(clip[b.grid.epsg], shapely.box(
        *b.grid.bounds).buffer(-1e-6 * b.grid.scale))]
