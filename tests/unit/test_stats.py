"""Statistics of a store: NumPy's own on the same pixels, in one pass; stored without touching a shard."""

import json

import numpy as np
import pytest
import zarr

from dwplus.errors import InputError
from dwplus.spec import make_spec
from dwplus.store import layout, stats, writer
from dwplus.store.reader import tile_table
from dwplus.store.writer import TileResult

CREATED = "2026-01-02T03:04:05Z"


def pixels(i, pixels_of):
    s2, s1, label = pixels_of(i)
    s2[:, :3, : 5 + i] = layout.S2_NODATA
    s1[1, 4:6] = layout.S1_NODATA
    return s2, s1, label


@pytest.fixture
def store(tmp_path, small_plan, small_spec, pixels_of):
    path = tmp_path / "small.zarr"
    layout.create(path, small_plan, small_spec, created=CREATED, earth="embedded-earth")
    for name, tiles in (("biome_04", 10), ("biome_12", 3)):
        for start in range(0, tiles, 4):
            stop = min(start + 4, tiles)
            writer.write_shard(layout.open_root(path, "r+")[name], start, stop, {
                i: TileResult(layout.EXPORTED, "", *pixels(i, pixels_of)) if i != 3
                else TileResult(layout.REJECTED, "few_labels: 0.1") for i in range(start, stop)})
    return path


def train_pixels(store, sensor):
    """All train pixels of a sensor, float64 with NaN = no data: (band, n)."""
    table = tile_table(store)
    rows = table[(table["status"] == "exported") & (table["split"] == "train")]
    root = zarr.open_group(store, mode="r")
    raw = np.concatenate([root[f"{r.group}/{sensor}"][r.index].reshape(root[f"{r.group}/{sensor}"].shape[1], -1)
                          for r in rows.itertuples()], axis=1)
    values = raw.astype("float64")
    values[raw == (layout.S2_NODATA if sensor == "s2" else layout.S1_NODATA)] = np.nan
    return values * (1 if sensor == "s2" else 0.01)


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("sensor", ["s2", "s1"])
def test_against_numpy(store, sensor, scheduler):
    found = stats.measure(store, scheduler=scheduler)
    want = train_pixels(store, sensor)
    bands = getattr(found, sensor)
    assert [b.name for b in bands] == (["B2", "B3", "B4"] if sensor == "s2" else ["VV", "VH"])
    for band, values in zip(bands, want, strict=True):
        good = values[np.isfinite(values)]
        assert (band.count, band.nodata) == (len(good), np.isnan(values).sum())
        assert band.mean == pytest.approx(good.mean()) and band.std == pytest.approx(good.std())
        assert (band.low, band.high) == pytest.approx((good.min(), good.max()))
        p1, p99 = (np.quantile(good, q, method="inverted_cdf") for q in (0.01, 0.99))
        assert (band.p1, band.p99) == pytest.approx((p1, p99))
        clipped = np.clip(good, p1, p99)
        assert (band.clipped_mean, band.clipped_std) == pytest.approx((clipped.mean(), clipped.std()))
        assert sum(band.histogram) == band.count and len(band.histogram) <= stats.BARS
        edges = np.linspace(*band.edges, len(band.histogram) + 1)
        np.testing.assert_array_equal(band.histogram, np.histogram(np.clip(good, edges[0], edges[-1]), edges)[0])
        assert edges[0] <= p1 and p99 <= edges[-1]


def test_only_exported_tiles_of_the_split_count(store):
    table = tile_table(store)
    for split in ("train", "val", "test", "all"):
        rows = table[(table["status"] == "exported") & ((table["split"] == split) | (split == "all"))]
        assert stats.measure(store, split).tiles == len(rows)
    assert stats.measure(store, "all", max_tiles=2).tiles == 2
    with pytest.raises(InputError, match="split 'x': must be one of train, val, test, all"):
        stats.measure(store, "x")


def files(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_stored_without_touching_anything_else(store):
    from dwplus.store.verify import verify

    before, root = files(store), json.loads((store / "zarr.json").read_text())
    assert stats.stored(store) is None
    found = stats.measure(store)
    stats.store_statistics(store, found)
    after = files(store)
    assert [k for k in before | after if before.get(k) != after.get(k)] == ["zarr.json"]
    changed = json.loads(after["zarr.json"])
    # the seal covers the root's attributes and is renewed with them
    assert changed["attributes"].pop("statistics")
    assert changed["attributes"].pop("seal") != root["attributes"].pop("seal")
    assert changed == root
    assert stats.stored(store) == found
    assert not verify(store).faults


def test_statistics_of_other_tiles_are_not_given(store, pixels_of):
    stats.store_statistics(store, stats.measure(store))
    writer.write_shard(layout.open_root(store, "r+")["biome_04"], 0, 4,
                       {0: TileResult(layout.REJECTED, "few_labels: 0.1")})
    assert stats.stored(store) is None


def test_float_radar_counts_in_hundredths(tmp_path, small_plan, small_spec, pixels_of):
    spec = make_spec({**small_spec.model_dump(mode="json"), "store": {"shard_tiles": 4, "s1_dtype": "float32"}})
    layout.create(tmp_path / "f", small_plan, spec, created=CREATED, earth="embedded-earth")
    s2, s1, label = pixels_of(0)
    decibels = (s1 / 100).astype("float32")
    decibels[0, 0] = np.nan
    writer.write_shard(layout.open_root(tmp_path / "f", "r+")["biome_04"], 0, 4,
                       {0: TileResult(layout.EXPORTED, "", s2, decibels, label)})
    band = stats.measure(tmp_path / "f").s1[0]
    assert band.nodata == 32 and band.mean == pytest.approx(np.nanmean(decibels[0]), abs=1e-4)


def test_a_damaged_shard_is_one_sentence(store):
    shard = store / "biome_04" / "s2" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"biome_04/s2/c/0.*checksum does not fit; run dwplus verify"):
        stats.measure(store)


@pytest.mark.parametrize("scheme", stats.SCHEMES)
def test_schemes(store, scheme, pixels_of):
    found = stats.measure(store)
    s2, s1, _ = pixels(0, pixels_of)
    for raw, bands, nodata in ((s2, found.s2, layout.S2_NODATA), (s1, found.s1, layout.S1_NODATA)):
        out = stats.normalise(raw, bands, scheme)
        assert out.dtype == "float32" and np.isfinite(out).all()
        assert (out[raw == nodata] == 0).all()
    everything = train_pixels(store, "s2")
    raw = np.where(np.isnan(everything), layout.S2_NODATA, everything).astype("uint16")
    out = np.where(np.isnan(everything), np.nan, stats.normalise(raw, found.s2, scheme))
    if scheme in ("clip-standardise", "standardise"):
        np.testing.assert_allclose(np.nanmean(out, axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(np.nanstd(out, axis=1), 1, atol=1e-5)
    else:
        assert np.nanmin(out) >= 0 and np.nanmax(out) <= 1
    with pytest.raises(InputError, match="scheme 'x'"):
        stats.normalise(s2, found.s2, "x")


def test_dynamic_worlds_own_scale():
    """facts/models.md: y = ln(0.005 x + 1); z = (y - P30) / P70; sigmoid(5 z - 1)."""
    counts = np.zeros(stats.VALUES, "int64")
    counts[1000:2000] = 1
    band = stats.band_statistics(counts, "B2", "s2")
    p30, p70 = np.log(0.005 * np.array([1299, 1699]) + 1)
    assert (band.log_p30, band.log_p70) == pytest.approx((p30, p70))
    out = stats.normalise(np.array([[1299]], "uint16"), (band,), "log-sigmoid")
    assert out[0, 0] == pytest.approx(1 / (1 + np.exp(1)), abs=1e-6)


def test_dynamic_worlds_own_constants():
    """facts/models.md 3.5, worked by hand for B2 at 1,000: ln(6) = 1.791759, z = 0.024728, sigmoid(-0.876358)."""
    band = stats.band_statistics(np.bincount([1000], minlength=stats.VALUES), "B2", "s2")
    pixels = np.array([[1000, 65535]], "uint16")
    out = stats.normalise(pixels, (band,), "dynamic-world")
    assert out[0] == pytest.approx([0.293933, 0.0], abs=1e-5)
    other = stats.band_statistics(np.bincount([1000], minlength=stats.VALUES), "B8A", "s2")
    with pytest.raises(InputError, match="band B8A: Dynamic World's network had none such"):
        stats.normalise(pixels, (other,), "dynamic-world")
