"""Which tiles: their shape, how they are drawn, when one is refused, triplets under cloud, and how a store is cut."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dwplus.spec.base import Model


class TileShape(Model):
    """Size and lattice of a tile."""

    size: int = Field(510, ge=16, le=8192, description="pixels a side")
    scale: float = Field(10, gt=0, description="metres a pixel")
    grid: Literal["utm", "label"] = Field(
        "utm", description="utm: the 10 m lattice of the tile's UTM zone; label: cut from the label image's own grid")


class Sampling(Model):
    """Which tiles of the region are taken."""

    per_biome: int | None = Field(None, ge=1, description="planned tiles per biome and window; none = every tile")
    strategy: Literal["grid", "stratified"] = Field(
        "grid", description="grid: tiles in seeded order, needs no pixels; stratified: of these, the ones that even "
                            "out how often each class is low, medium or high in a tile (looks at their labels)")
    ecoregions: Literal["area", "equal"] = Field("area", description="share of each ecoregion in its biome's quota: by "
                                                                     "its area in the region, or equal")
    seed: int = Field(0, description="order of the candidates and assignment of the splits")
    guard_metres: float = Field(0, ge=0, description="least distance between tiles of different splits; tiles nearer "
                                                     "are no candidates, those of train first, those of test never")


#: What a kept spec means that does not speak of these keys: the earlier builds' only way.
EARLIER_EDGES: dict[str, Any] = {"s1_edges": "threshold", "s1_edge_angles": [30.64, 45.24], "s1_edge_erode": 0.0}


class Quality(Model):
    """When a tile is refused."""

    min_coverage: float = Field(0.99, ge=0, le=1, description="least share of the tile inside the label's, the S2 "
                                                             "scene's and the S1 pass's footprint")
    min_label_fraction: float = Field(0.2, ge=0, le=1, description="least share of labelled pixels; below it an "
                                                                  "exported tile is rejected")
    clouds: Literal["scene", "label", "cloud-score-plus"] = Field(
        "scene", description="how clear a tile is: scene = CLOUDY_PIXEL_PERCENTAGE alone; label = the label's own mask "
                             "over the tile; cloud-score-plus = share of it with cs_cdf >= 0.6. The latter two look at "
                             "pixels, 100 m apart, while planning")
    min_clear: float = Field(0.7, ge=0, le=1, description="least clear share of the tile, where clouds is not scene")
    min_s2_valid: float = Field(0.5, ge=0, le=1, description="least share of pixels with Sentinel-2 data; below it an "
                                                             "exported tile is rejected")
    min_s1_valid: float = Field(0.5, ge=0, le=1, description="least share of pixels with Sentinel-1 data, border noise "
                                                             "taken off; below it an exported tile is rejected")
    s1_edges: Literal["auto", "threshold", "angle", "both", "none"] = Field(
        "auto", description="how border noise of Sentinel-1 is masked, in all S1 bands: threshold = VV at or below "
                            "s1_edge_db; angle = outside s1_edge_angles; both; none; auto = threshold, at least -30 dB "
                            "before 2018-03-13, when ESA began to clean the edges")
    s1_edge_db: float = Field(-40, description="VV at or below this many dB is border noise (auto, threshold, both)")
    s1_edge_angles: tuple[float, float] = Field(
        (30.64, 45.24), description="incidence angles, degrees, between which pixels are kept (angle, both)")
    s1_edge_erode: float = Field(
        0, ge=0, le=2000, description="metres by which what is seen of a slice of Sentinel-1 is eroded from its edge "
                                      "inwards, as well")


class TripletsSpec(Model):
    """Land cover under cloud: with this section (``triplets: {}`` takes its defaults) S2 is a clouded scene of the
    window, and the label is that of the clear scene nearest to it in time. The window's middle is the target date."""

    cloud: Literal["cloud-score-plus", "s2cloudless", "scl"] = Field(
        "cloud-score-plus", description="mask that says what is cloud: cloud-score-plus = cs_cdf < 0.6 (clouds and "
                                        "shadows), s2cloudless = probability >= 50 %, scl = classes 3, 8, 9, 10 of "
                                        "the sr product")
    clear: float = Field(0.05, ge=0, le=1, description="largest cloud share of the label's scene over the tile")
    max_label_days: float = Field(15, gt=0, description="largest distance of the label's scene from the clouded one")
    prefer_s1_days: float = Field(6, gt=0, description="a pass farther off (at most sentinel1.max_gap_hours, itself at "
                                                       "most 288) is taken only where none is nearer")
    looks: int = Field(6, ge=1, description="clouded scenes of a tile that are measured while planning, 100 m apart")
    keep_clear: bool = Field(True, description="keep the clear scene as well, in array s2_clear; for looking, and for "
                                               "the published folder layout; no network sees it")


class StoreSpec(Model):
    """How the Zarr store is cut and packed."""

    shard_tiles: int = Field(16, ge=1, le=1024, description="tiles a shard; one task writes one shard")
    s1_dtype: Literal["int16", "float32"] = Field("int16", description="int16: hundredths of dB (scale_factor 0.01); "
                                                                       "float32: dB")
    codec: Literal["zstd", "lz4"] = Field("zstd", description="blosc compressor, with bitshuffle")
    level: int = Field(1, ge=0, le=9, description="blosc level")
    embedding_dtype: Literal["float16", "int8"] = Field(
        "float16", description="of extras: [embedding]: float16, of unit length to 0.1 %; int8: the publisher's own "
                               "quantisation, half the bytes, and at 510 px one request a tile in place of two")
