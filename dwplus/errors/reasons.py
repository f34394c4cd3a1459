"""Why a tile or a block of a map is rejected, or failed: one code each, and what it means for people.

Plans, stores and maps keep ``<code>`` or ``<code>: <words>``; codes never change their meaning.
"""

from __future__ import annotations

import enum

from dwplus.errors import AssetGoneError, DwplusError, RefusedError, TooLargeError, TransientError


class Reason(enum.StrEnum):
    """A reject reason, or the class of a failure; as text it is its code.

    Attributes
    ----------
    meaning : what it means, for people.
    """

    meaning: str

    # While planning.
    NO_ECOREGION = "no_ecoregion", "the tile's centre lies at sea or on ice, outside every ecoregion"
    NO_LABEL = "no_label", "no Dynamic World image, or other label, of the tile's zone and ground in the window"
    OTHER_ECOREGION = "other_ecoregion", "the tile's centre lies in another ecoregion than a coarse map had it"
    LABEL_PARTIAL = "label_partial", "no Dynamic World image, or other label, covers the whole tile"
    LABEL_OFF_GRID = "label_off_grid", "no Dynamic World image has the tile's pixels"
    NO_S2 = "no_s2", "the label's Sentinel-2 scene is not in the archive"
    S2_CLOUDY = "s2_cloudy", "every Sentinel-2 scene is cloudier than sentinel2.max_cloud"
    S2_PARTIAL = "s2_partial", "no Sentinel-2 scene covers the whole tile"
    NO_S1 = "no_s1", "no IW VV+VH Sentinel-1 pass between sentinel1.min_gap_hours and max_gap_hours"
    S1_PARTIAL = "s1_partial", "no Sentinel-1 pass in reach covers the whole tile"
    NO_RTC = "no_rtc", "Sentinel-1 passes cover the tile, but none has RTC-S1 (not made of every pass, nor of S1D)"
    FEW_PASSES = "few_passes", ("fewer passes of the same relative orbit than sentinel1.speckle_least (or "
                                "speckle_scenes) lie within speckle_days and cover the tile")
    CLOUDED = "clouded", "no scene leaves quality.min_clear of the tile clear"
    FEW_LABELS = "few_labels", "less than quality.min_label_fraction of the tile is labelled"
    DUPLICATE = "duplicate", "the same tile and label are planned already"
    NO_CLEAR_LABEL = "no_clear_label", "no scene within triplets.max_label_days is clear over the tile and has a label"
    CLOUD_UNKNOWN = "cloud_unknown", "the mask of triplets.cloud knows no scene of the window"
    NO_EMBEDDING = "no_embedding", "the year of the label's scene has no annual embedding"
    NO_ELEVATION = "no_elevation", "the elevation model does not reach the tile"
    STRATUM_FULL = "stratum_full", "the strata of cloud that the tile could fill are full"
    MARKED = "marked", "a person marked the tile as bad"
    BY_HAND = "by_hand", "the plan was edited, and gives no reason"
    # While pixels are fetched.
    ASSET_GONE = "asset_gone", "an asset that the plan names is not on this Earth, or no longer"
    REFUSED = "refused", "Earth Engine refused the request"
    NO_VALID_PIXEL = "no_valid_pixel", "no pixel has all that is asked of it"
    S2_INVALID = "s2_invalid", "less than quality.min_s2_valid of the tile has Sentinel-2 data"
    S1_INVALID = "s1_invalid", "less than quality.min_s1_valid of the tile has Sentinel-1 data above the border noise"
    NO_EXTRA = "no_extra", "an array of extras has no pixel of the tile"
    NO_SCENE = "no_scene", "no pair of scenes"
    # Failures: the same command tries again.
    TRANSIENT = "transient", "the service was busy, or the connection or an answer was cut off"
    TOO_LARGE = "too_large", "the service found the request too large"
    OTHER = "other", "an error of another kind"

    def __new__(cls, code: str, meaning: str) -> Reason:
        member = str.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    def says(self, words: object) -> str:
        """The reason as a store keeps it, ``<code>: <words>``."""
        return f"{self}: {words}"

    @classmethod
    def of(cls, kept: object) -> Reason | None:
        """The reason of what a plan or a store keeps; None where it keeps none, or one of a later build."""
        return _BY_CODE.get(str(kept).partition(":")[0])

    @classmethod
    def of_error(cls, error: DwplusError) -> Reason:
        """The reason for an error that concerns one tile; asking again helps with none that is a RefusedError."""
        return next((reason for type_, reason in _BY_ERROR if isinstance(error, type_)), cls.OTHER)


_BY_CODE = {reason.value: reason for reason in Reason}
_BY_ERROR: tuple[tuple[type[DwplusError], Reason], ...] = (
    (AssetGoneError, Reason.ASSET_GONE), (RefusedError, Reason.REFUSED), (TransientError, Reason.TRANSIENT),
    (TooLargeError, Reason.TOO_LARGE))


def meaning(code: object) -> str:
    """What a code means, for people; empty for one that is not known."""
    return found.meaning if (found := Reason.of(code)) else ""
