"""A user's mistakes in a spec become one sentence each."""

import pytest

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec, differences, load_spec, make_spec

GOOD = {"name": "x", "region": "sample", "windows": [["2020-01-01", "2020-06-01"]]}


@pytest.mark.parametrize(("change", "sentence"), [
    ({"windows": [["2020-06-01", "2020-01-01"]]}, "windows[0]: end 2020-01-01 must come after start 2020-06-01"),
    ({"windows": [["2020-06-01", "2020-06-01"]]}, "must come after start"),
    ({"windows": []}, "windows: needs at least one item"),
    ({"windows": [["2020-01-01"]]}, "windows[0]: a window is [start, end), found 1 dates"),
    ({"windows": [["2020-01-01", "soon"]]}, "windows[0].end"),
    ({"sentinel1": {"min_gap_hours": 200}}, "sentinel1: min_gap_hours (200) must not exceed max_gap_hours (144)"),
    ({"sentinel1": {"max_gap": 3}}, "sentinel1.max_gap: unknown key; did you mean 'max_gap_hours'"),
    ({"quallity": {}}, "quallity: unknown key; did you mean 'quality'"),
    ({"region": "sea"}, "region[0]: must be sample, {bbox"),
    ({"region": [{"bbox": [1, 5, 3, 2]}]}, "region[0].bbox: south (5.0) must be below north (2.0)"),
    ({"region": {"bbox": [1, 2, 300, 3]}}, "region[0].bbox: [west, south, east, north] must lie in"),
    ({"region": []}, "region: needs at least one item"),
    ({"sentinel2": {"bands": ["B4", "B10"]}}, "band 'B10' is not in product 'sr'"),
    ({"sentinel2": {"bands": ["B4", "B4"]}}, "a band is named twice"),
    ({"tile": {"size": "big"}}, "tile.size"),
    ({"sampling": {"per_biome": 0}}, "sampling.per_biome"),
    ({"name": "a/b"}, "name"),
])
def test_mistakes(change, sentence):
    with pytest.raises(InputError) as caught:
        make_spec({**GOOD, **change}, "spec.yaml")
    message = str(caught.value)
    assert message.startswith("spec.yaml: ") and sentence in message and "\n" not in message
    assert caught.value.exit_code == 2


def test_missing_key_is_named():
    with pytest.raises(InputError, match="region: is required"):
        make_spec({k: v for k, v in GOOD.items() if k != "region"})


def test_a_spec_survives_its_json_and_tells_differences():
    spec = make_spec({**GOOD, "region": ["sample", {"bbox": [170, 5, -170, 12]}], "sampling": {"per_biome": 3}})
    assert DatasetSpec.from_json(spec.to_json()) == spec
    other = make_spec({**GOOD, "region": ["sample", {"bbox": [170, 5, -170, 12]}], "sampling": {"per_biome": 4}})
    assert differences(spec, other) == ["sampling.per_biome: 3 -> 4"]


@pytest.mark.parametrize(("text", "sentence"), [
    ("[1, 2", "is no YAML"), ("just words", "a spec is a mapping"), ("", "a spec is a mapping")])
def test_files_that_are_no_spec(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_spec(path)
    with pytest.raises(InputError, match="no such file"):
        load_spec(tmp_path / "none.yaml")


def test_region_files_are_relative_to_the_spec(tmp_path):
    (tmp_path / "s.yaml").write_text("name: x\nregion: {file: r.geojson}\nwindows: [[2020-01-01, 2020-02-01]]\n")
    spec = load_spec(tmp_path / "s.yaml")
    assert spec.region[0].file == str(tmp_path / "r.geojson")
