"""The planet takes its words for classes and biomes from whoever opens it."""

from __future__ import annotations

import pytest

from dwplus.embedded_earth import open_catalog
from dwplus.embedded_earth.planet import names
from dwplus.taxonomy import BIOMES, CLASSES
from tests.unit.planet.conftest import DW, END, START


def test_its_own_words_are_those_of_the_taxonomy():
    assert names.CLASSES == CLASSES
    assert dict(enumerate(names.BIOMES, 1)) == BIOMES


def test_given_words_name_bands_and_biomes():
    classes = [f"class {number}" for number in range(9)]
    biomes = {number: f"biome {number}" for number in BIOMES}
    planet = open_catalog(classes=classes, biomes=biomes)
    scene = planet.scenes(DW, START, END)[0]
    assert [band.id for band in scene.bands] == [*classes, "label"]
    for table, name in (("SAMPLE/SITES", "biome_name"), ("RESOLVE/ECOREGIONS/2017", "BIOME_NAME")):
        found = {row.properties[name] for row in planet.table(table) if row.properties[name] != "N/A"}
        assert found == set(biomes.values())


@pytest.mark.parametrize("words, told", [
    ({"classes": ["water"]}, "1 names of classes"), ({"classes": ["a"] * 9}, "9 different"),
    ({"biomes": {1: "forest"}}, "biome 2")])
def test_missing_words_are_refused(words, told):
    with pytest.raises(ValueError, match=told):
        open_catalog(**words)
