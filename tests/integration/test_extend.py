"""A store that grows by `dwplus extend`: what is there is copied, only what is new is fetched."""

import sys

import pandas as pd
import pytest

from dwplus.earth import EarthConfig, connect, connect_config
from dwplus.earth.tables import sample_sites
from dwplus.errors import InputError, StopError
from dwplus.export.extend import extend
from dwplus.export.run import export
from dwplus.planning.plan import make_plan, read_plan, write_plan
from dwplus.spec import make_spec
from dwplus.store import layout, tables, writer
from dwplus.store.verify import verify

HERE = EarthConfig()


def planned(path, per_biome, **more):
    centre = sample_sites(connect())[0].polygon.centroid
    box = [centre.x - 0.03, centre.y - 0.03, centre.x + 0.03, centre.y + 0.03]
    spec = make_spec({"name": "grows", "region": {"bbox": box}, "tile": {"size": 64},
                      "windows": [["2021-06-01", "2021-07-01"]], "sampling": {"per_biome": per_biome},
                      "store": {"shard_tiles": 4}, **more})
    write_plan(make_plan(connect(), spec), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Plans of 6 and of 10 tiles, of which the larger holds the smaller, and a store of each."""
    folder = tmp_path_factory.mktemp("extend")
    few, many = planned(folder / "few.parquet", 6), planned(folder / "many.parquet", 10)
    for plan, name in ((few, "few"), (many, "many")):
        assert export(plan, folder / f"{name}.zarr", HERE).complete
    return folder


def rows(store):
    """All columns and digests of a store, by tile; where a tile lies may differ."""
    whole = tables.whole(store).drop(columns=["index"])
    texts = {name: "object" for name in whole if whole[name].dtype.kind in "OTU" or str(whole[name].dtype) == "str"}
    return whole.astype(texts).sort_values("tile_id").reset_index(drop=True)


def test_the_new_store_is_the_one_that_an_export_would_have_made(made, tmp_path):
    before = connect_config(HERE).limiter.state().counts.requests
    summary, faults = extend(made / "few.zarr", made / "many.parquet", tmp_path / "out.zarr", HERE)
    assert faults == [] and summary.complete and summary.exported + sum(summary.rejected.values()) == 10
    # One request a tile: those of the 6 were not fetched again.
    assert connect_config(HERE).limiter.state().counts.requests - before <= 4
    pd.testing.assert_frame_equal(rows(tmp_path / "out.zarr"), rows(made / "many.zarr"))
    old = rows(made / "few.zarr")
    kept = rows(tmp_path / "out.zarr")
    pd.testing.assert_frame_equal(kept[kept["tile_id"].isin(old["tile_id"])].reset_index(drop=True), old)
    assert (tmp_path / "out.zarr" / tables.FILE).exists()


def test_it_goes_on_after_a_stop(made, tmp_path, monkeypatch):
    out, real, calls = tmp_path / "out.zarr", writer.write_shard, []

    def stops(*args, **more):
        calls.append(args)
        if len(calls) == 2:
            raise StopError("the disk is full")
        return real(*args, **more)

    monkeypatch.setattr(writer, "write_shard", stops)
    with pytest.raises(StopError):
        extend(made / "few.zarr", made / "many.parquet", out, HERE)
    assert (tables.whole(out)["status"] == layout.PENDING).any()
    assert extend(made / "few.zarr", made / "many.parquet", out, HERE)[1] == []
    pd.testing.assert_frame_equal(rows(out), rows(made / "many.zarr"))


def test_what_does_not_fit_is_refused(made, tmp_path):
    out = tmp_path / "out.zarr"
    other = planned(tmp_path / "toa.parquet", 6, sentinel2={"product": "toa"})
    with pytest.raises(InputError, match="is of another spec"):
        extend(made / "few.zarr", other, out, HERE)
    plan = read_plan(made / "many.parquet")
    shared = plan["tile_id"].isin(tables.whole(made / "few.zarr")["tile_id"])
    plan.loc[shared, "s1_id"] = plan.loc[~shared, "s1_id"].iat[0] + "x"
    write_plan(plan, tmp_path / "scenes.parquet")
    with pytest.raises(InputError, match="leave it out of the plan"):
        extend(made / "few.zarr", tmp_path / "scenes.parquet", out, HERE)
    with pytest.raises(InputError, match="choose another place"):
        extend(made / "few.zarr", made / "many.parquet", made / "few.zarr", HERE)
    assert not out.exists() and verify(made / "few.zarr").faults == []


def test_the_command(made, tmp_path, capsys, monkeypatch):
    from dwplus.cli import main

    monkeypatch.setattr(sys, "argv", ["dwplus", "extend", str(made / "few.zarr"), str(made / "many.parquet"),
                                      str(tmp_path / "out.zarr")])
    with pytest.raises(SystemExit) as stop:
        main()
    out = capsys.readouterr().out
    assert stop.value.code == 0 and "6 tiles copied" in out and "4 are new" in out and "10 planned" in out
