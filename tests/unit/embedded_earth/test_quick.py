"""What makes the Earth quick changes no answer: outlines are made once, and compared once a filter."""

import gc
import json
import weakref

import pytest

from dwplus.embedded_earth import EmbeddedEarth, bands, open_catalog
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.functions import filters, registry
from dwplus.embedded_earth.grid import Grid
from dwplus.embedded_earth.planet.sentinel2 import Sentinel2Scene
from dwplus.embedded_earth.shapes import Geometry, geometry_of, meet, polygon_of
from tests.unit.embedded_earth.test_array_functions import call

MAY, JUNE = 1_619_827_200_000, 1_622_505_600_000


@pytest.fixture(scope="module")
def scenes():
    return open_catalog().scenes("COPERNICUS/S1_GRD", MAY, JUNE)


def test_scenes_of_a_track_share_their_outline_and_others_do_not(scenes):
    images = [bands.image_of(scene) for scene in scenes]
    assert len({id(image.footprint) for image in images}) < len(images) / 2
    for scene, image in zip(scenes, images, strict=True):
        alone = polygon_of(geometry_of(scene.properties["system:footprint"]).shape)
        assert image.footprint.shape.equals_exact(alone, 0)


def test_a_list_in_the_place_of_another_gets_its_own_outline():
    """Coordinates are told apart by where they lie in memory, and memory is used again."""
    for shift in range(200):
        ring = [[shift, 0.0], [shift + 1.0, 0.0], [shift + 1.0, 1.0], [shift, 0.0]]
        assert bands._outline({"type": "LinearRing", "coordinates": ring}).shape.bounds[0] == shift
        del ring


def test_kept_outlines_are_bounded(monkeypatch):
    monkeypatch.setattr(bands, "_KEPT_OUTLINES", 8)
    monkeypatch.setattr(bands, "_outlines", {})
    for shift in range(50):
        bands._outline({"type": "LinearRing", "coordinates": [[shift, 0], [shift + 1, 0], [shift, 1], [shift, 0]]})
    assert len(bands._outlines) <= 8


@pytest.mark.parametrize("name", ["Filter.intersects", "Filter.disjoint"])
def test_a_filter_passes_what_the_shapes_say_scene_by_scene(scenes, name):
    context = Context(open_catalog())
    images = [bands.image_of(scene) for scene in scenes]
    area = Geometry(images[0].footprint.shape.centroid.buffer(0.5))
    test = registry.call(context, name, {"leftField": ".all", "rightValue": area}).test
    passed = [test(image) for image in images for _ in range(2)]
    meets = [meet(polygon_of(image.footprint.drawn("EPSG:4326")), area.drawn("EPSG:4326"))
             for image in images for _ in range(2)]
    assert passed == [m if name == "Filter.intersects" else not m for m in meets]
    assert True in passed and False in passed


def test_a_filter_that_forgets_still_answers(scenes, monkeypatch):
    monkeypatch.setattr(filters, "_KEPT_VERDICTS", 1)
    test_a_filter_passes_what_the_shapes_say_scene_by_scene(scenes, "Filter.intersects")


def test_pixels_go_with_their_request():
    """Nothing of a scene is left to the collector: what waits for it is memory, a tile's bands ten megabytes."""
    reading = dict(row=0, col=0, height=64, width=64)
    scene = next(scene for scene in open_catalog().scenes("COPERNICUS/S2_SR_HARMONIZED", MAY, JUNE))
    gc.collect()
    gc.disable()
    try:
        image = bands.image_of(scene)
        band = image.bands[0]
        grid = Grid(band.projection.crs, band.projection.transform, 0, 0).window(*reading.values())
        coarse = Grid(grid.crs, tuple(4 * part if i in (0, 4) else part for i, part in enumerate(grid.transform)), 8, 8)
        assert band.read(grid)[0].shape == (64, 64) and band.read(coarse)[0].shape == (8, 8)
        left = weakref.ref(scene)
        del scene, image, band
        assert left() is None
    finally:
        gc.enable()


def test_a_function_in_an_expression_keeps_no_pixels():
    """Functions know their graph, and the graph its results: a request lets go of them."""
    earth = EmbeddedEarth(open_catalog())
    function = {"functionDefinitionValue": {"argumentNames": ["scene"], "body": "2"}}
    values = {
        "0": call("ImageCollection.load", id={"constantValue": "COPERNICUS/S2_SR_HARMONIZED"}),
        "1": call("Collection.filter", collection={"valueReference": "0"}, filter=call(
            "Filter.dateRangeContains", rightField={"constantValue": "system:time_start"}, leftValue=call(
                "DateRange", start={"constantValue": "2021-06-01"}, end={"constantValue": "2021-06-03"}))),
        "2": call("Image.select", input={"argumentReference": "scene"}, bandSelectors={"constantValue": ["B2", "B5"]}),
        "3": function,
        "4": call("Collection.first", collection=call(
            "Collection.map", collection={"valueReference": "1"}, baseAlgorithm={"valueReference": "3"}))}
    own = next(iter(open_catalog().scenes("COPERNICUS/S2_SR_HARMONIZED", JUNE, JUNE + 2 * 86_400_000))).bands[1]
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    grid = {"crsCode": own.crs, "affineTransform": dict(zip(names, own.transform, strict=True)),
            "dimensions": {"width": 64, "height": 64}}
    body = json.dumps({"expression": {"result": "4", "values": values}, "fileFormat": "NPY", "grid": grid}).encode()
    gc.collect()
    gc.disable()
    try:
        answer = earth.handle("POST", "/v1/projects/p/image:computePixels", {}, {}, body)
        assert answer.status == 200, answer.body
        left = [one for one in gc.get_objects() if type(one) is Sentinel2Scene]
        assert not left
    finally:
        gc.enable()
