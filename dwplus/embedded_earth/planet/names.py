"""What the planet calls its classes and biomes: words of whoever opens it, else those of the public archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Probability bands of ``GOOGLE/DYNAMICWORLD/V1``, label 0 first.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1
CLASSES = ("water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice")
#: BIOME_NAME of ``RESOLVE/ECOREGIONS/2017``, BIOME_NUM 1 first.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/RESOLVE_ECOREGIONS_2017
BIOMES = (
    "Tropical & Subtropical Moist Broadleaf Forests", "Tropical & Subtropical Dry Broadleaf Forests",
    "Tropical & Subtropical Coniferous Forests", "Temperate Broadleaf & Mixed Forests", "Temperate Conifer Forests",
    "Boreal Forests/Taiga", "Tropical & Subtropical Grasslands, Savannas & Shrublands",
    "Temperate Grasslands, Savannas & Shrublands", "Flooded Grasslands & Savannas", "Montane Grasslands & Shrublands",
    "Tundra", "Mediterranean Forests, Woodlands & Scrub", "Deserts & Xeric Shrublands", "Mangroves",
)


@dataclass(frozen=True)
class Names:
    """Words for classes and biomes.

    Attributes
    ----------
    classes : names of the nine classes, label 0 first; the probability bands are called so.
    biomes : names of the 14 biomes, number 1 first.

    Raises
    ------
    ValueError
        Where there are not nine different classes and 14 biomes.
    """

    classes: tuple[str, ...] = CLASSES
    biomes: tuple[str, ...] = BIOMES

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(CLASSES) or len(self.classes) != len(CLASSES):
            raise ValueError(f"{len(self.classes)} names of classes: must be {len(CLASSES)} different ones")
        if len(self.biomes) != len(BIOMES):
            raise ValueError(f"{len(self.biomes)} names of biomes: must be {len(BIOMES)}")

    @classmethod
    def of(cls, classes: Sequence[str] | None = None, biomes: Mapping[int, str] | None = None) -> Names:
        """Names from a list of classes and a table of biomes by number; None for the public archives' words.

        Raises
        ------
        ValueError
            Where a class or biome has no name.
        """
        try:
            numbered = BIOMES if biomes is None else tuple(biomes[number] for number in range(1, len(BIOMES) + 1))
        except KeyError as error:
            raise ValueError(f"biome {error}: has no name") from None
        return cls(CLASSES if classes is None else tuple(classes), numbered)

    def biome(self, number: int) -> str:
        """Name of a biome, 1 to 14."""
        return self.biomes[number - 1]
