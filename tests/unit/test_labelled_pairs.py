"""Networks on stores of any classes and bands: training, evaluation, tables, fine-tuning, models out, tar files."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from dwplus.errors import InputError
from dwplus.importers import Options, import_set
from dwplus.pages.colours import class_words
from dwplus.report.page import write_report
from dwplus.store import layout
from dwplus.store.copies import subset
from dwplus.store.reader import tile_table
from dwplus.store.relabel import relabel
from dwplus.store.stats import measure, normalise
from dwplus.store.tars import export_tar
from dwplus.store.verify import verify
from dwplus.taxonomy import CLASSES, to_six
from dwplus.taxonomy.tables import TABLES, table_from, translation
from model import finetune
from model.checkpoint import load
from model.config import make_config
from model.data import TileDataset
from model.evaluate import evaluate
from model.export import Whole, example, export_model
from model.metrics import Protocol, scores
from model.networks.registry import build
from model.scoring import slid
from model.selection import few
from model.train import train
from tests import public_sets

SMALL = {"data": {"augment": False, "threads": 1}, "optim": {"epochs": 1, "batch_size": 4, "lr": 1e-3},
         "run": {"tensorboard": False}}


def config(name, **parts):
    values = {**SMALL, "model": {"name": name, "options": {"variant": "small"}}}
    return make_config({**values, **{key: {**values.get(key, {}), **more} for key, more in parts.items()}})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for name, options in (("whu-opt-sar", Options(tile=64, splits="spatial")), ("pie-rgb-sar", Options()),
                          ("openearthmap-sar", Options(tile=64)), ("cloudlulc-set", Options())):
        public_sets.MAKERS[name](root / name)
        import_set(name, root / name, root / f"{name}.zarr", options)
    train(root / "whu-opt-sar.zarr", root / "whu", config("claire"))
    return root


@pytest.mark.parametrize(("name", "model", "bands", "classes", "split"), [
    ("whu-opt-sar", "claire", (4, 1), 7, "test"), ("pie-rgb-sar", "claire", (3, 1), 6, "val"),
    ("openearthmap-sar", "claire", (3, 1), 8, "test"), ("cloudlulc-set", "cloudlulc_net", (12, 2), 6, "test")])
def test_a_network_takes_what_the_store_has(work, tmp_path, name, model, bands, classes, split):
    run = work / "whu" if name == "whu-opt-sar" else tmp_path / "run"
    store = work / f"{name}.zarr"
    if name != "whu-opt-sar":
        train(store, run, config(model))
    kept = load(run)
    options = kept.info["model"]["options"]
    assert (options["s2_bands"], options["s1_bands"], options["classes"]) == (*bands, classes)
    assert kept.legend.classes == tuple(layout.open_root(store).attrs["classes"])
    found = evaluate(store, run, tmp_path / "out", split=split, draws=10)
    assert np.shape(found["confusion"]) == (classes, classes) and found["overall"]["pixels"] > 0
    assert found["classes"] == list(kept.legend.classes) and not found["by_biome"] and not found["by_gap_hours"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(name in page for name in class_words(kept.legend.classes)) and "Biomes" not in page


def test_stores_of_other_classes_are_refused_or_merged(work, tmp_path):
    relabel(work / "whu-opt-sar.zarr", tmp_path / "dw.zarr", "dynamic-world")
    both = [work / "whu-opt-sar.zarr", tmp_path / "dw.zarr"]
    with pytest.raises(InputError, match="merge them by a table"):
        TileDataset(both, "train")
    merged = TileDataset(both, "train", classes="cloudlulc")
    assert merged.legend.classes == TABLES["cloudlulc"].classes
    own = TileDataset(both[0], "train")
    first = own.tile(0).label
    built = np.isin(first, [own.legend.classes.index(c) for c in ("city", "village", "road")])
    assert np.array_equal(merged.tile(0).label == merged.legend.classes.index("built_up"), built) and built.any()
    assert merged.class_counts.sum() == sum(int((merged.tile(i).label != 255).sum()) for i in range(len(merged)))
    with pytest.raises(InputError, match="stores of the same bands"):
        TileDataset([both[0], work / "pie-rgb-sar.zarr"], "train")
    with pytest.raises(InputError, match="no tile of store"):
        TileDataset(both[0], "train", max_cloud=10)
    with pytest.raises(InputError, match="was trained on"):
        evaluate(tmp_path / "dw.zarr", work / "whu", tmp_path / "out", split="all")


def test_relabelling_is_the_mapping_that_is_published_here(tmp_path):
    # Dynamic World to the six is the same by the tables and by the function that triplets use.
    six = translation(CLASSES, "dynamic-world", TABLES["cloudlulc"])
    for number, name in enumerate(CLASSES):
        label = int(to_six(np.array([number]))[0])
        assert six[name] == (None if label == 255 else TABLES["cloudlulc"].classes[label])
    every = {(a, b): translation(TABLES[a].classes, a, TABLES[b]) for a in TABLES for b in TABLES}
    assert all(found[name] in TABLES[b].classes for (a, b), found in every.items() for name in found if found[name])
    assert every["openearthmap", "dynamic-world"]["building"] == "built"
    with pytest.raises(InputError, match="taken by"):
        table_from({"classes": {"a": ["x"], "b": ["x"]}}, "t.yaml")


def test_a_relabelled_store_is_whole(work, tmp_path):
    (tmp_path / "three.yaml").write_text("classes: {green: [forest, farmland], grey: [city, village, road]}\n")
    found = relabel(work / "whu-opt-sar.zarr", tmp_path / "out.zarr", str(tmp_path / "three.yaml"))
    assert found.became["water"] is None and found.pixels["green"] > 0
    assert not verify(tmp_path / "out.zarr").faults
    old, new = tile_table(work / "whu-opt-sar.zarr"), tile_table(tmp_path / "out.zarr")
    assert old[["tile_id", "split"]].equals(new[["tile_id", "split"]])
    assert new["count_grey"].sum() == old[["count_city", "count_village", "count_road"]].to_numpy().sum()
    assert not subset(tmp_path / "out.zarr", tmp_path / "part.zarr", "split == 'test'")
    assert layout.open_root(tmp_path / "part.zarr").attrs["classes"] == ["green", "grey"]


def test_physical_schemes_are_refused_on_grey_values(work):
    found = measure(work / "whu-opt-sar.zarr", "train")
    assert {band.unit for band in (*found.s2, *found.s1)} == {"grey"} and found.s2[0].log_p30 is None
    with pytest.raises(InputError, match="without physical meaning"):
        normalise(np.zeros((4, 2, 2), "uint16"), found.s2, "log-sigmoid")
    assert np.isfinite(normalise(np.zeros((4, 2, 2), "uint16"), found.s2)).all()


def test_fine_tuning_takes_what_fits_and_holds_what_is_told(work, tmp_path, capsys):
    summary = train(work / "openearthmap-sar.zarr", tmp_path / "run", config(
        "claire", init={"from": str(work / "whu"), "probe": True}))
    said = capsys.readouterr().out
    assert "optical.stem.0" in said and "decoder.classify" in said and summary.epochs == 1
    before, after = load(work / "whu").net.state_dict(), load(tmp_path / "run").net.state_dict()
    held = [name for name, p in build("claire", variant="small").named_parameters() if name.startswith("radar.")]
    assert held and all(torch.equal(before[name], after[name]) for name in held)
    statistics = [name for name in before if name.startswith("radar.") and name.endswith("running_mean")]
    assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
    train(work / "openearthmap-sar.zarr", tmp_path / "run", config(
        "claire", init={"from": str(work / "whu"), "probe": True}))  # taken up again: nothing to do, nothing refused
    net = build("claire", variant="small", s2_bands=3, s1_bands=1)
    with pytest.raises(InputError, match="no part of the network"):
        finetune.hold(net, ["nothing"], False)
    scales = {group["scale"] for group in finetune.groups(net, 0.1, 0.5)}
    assert max(scales) == 1.0 and len(scales) >= 4
    with pytest.raises(InputError, match="no weight fits"):
        finetune.start(build("unet", widths=(8, 16)), work / "whu")


def test_few_shots_keep_every_class():
    counts = np.zeros((100, 3))
    counts[:90, 0], counts[90:98, 1], counts[98:, 2] = 10, 10, 10
    kept = few(counts, 0.1, 0)
    assert len(kept) == 9 + 1 + 1 and (counts[kept].sum(axis=0) > 0).all()
    assert np.array_equal(kept, few(counts, 0.1, 0)) and not np.array_equal(kept, few(counts, 0.1, 1))


def test_protocols_make_the_figures_that_differ():
    two = np.array([[[8, 2], [0, 0]], [[0, 0], [5, 5]]])
    pooled, each = Protocol().of(two), Protocol(per_image=True).of(two)
    assert pooled["miou"] == pytest.approx((8 / 15 + 5 / 12) / 2) and each["miou"] == pytest.approx((0.8 + 0.5) / 2)
    assert Protocol(without=("a",)).masked(two, ("a", "b"))[0].sum() == 0
    assert scores(two[0])["miou"] == pytest.approx(0.8) and scores(two[0], absent_as_zero=True)["miou"] == 0.4
    with pytest.raises(InputError, match="is no class"):
        Protocol(without=("c",)).masked(two, ("a", "b"))


def test_a_sliding_window_is_the_whole_where_the_network_sees_one_pixel():
    class One(torch.nn.Module):
        def forward(self, s2, s1):
            return torch.cat([s2, s1], dim=1)

    s2, s1 = torch.rand(1, 2, 20, 30), torch.rand(1, 1, 20, 30)
    assert torch.allclose(slid(One(), s2, s1, 16, 5), slid(One(), s2, s1, None, None), atol=1e-6)


def test_a_model_goes_out_with_its_normalisation(work, tmp_path):
    pytest.importorskip("onnxruntime")
    found = export_model(work / "whu", tmp_path / "out")
    assert set(found["files"]) == {"README.md", "config.json", "model.onnx", "model.pt2", "model.safetensors"}
    assert max(found["largest_difference"].values()) <= 1e-4 and set(found["largest_difference"]) == {
        "onnx", "torch.export"}
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(about["id2label"].values()) == list(load(work / "whu").legend.classes)
    assert about["inputs"]["s2"]["units"] == ["display"] * 4
    # Inside the export is the same normalisation as in training.
    kept = load(work / "whu")
    data = TileDataset(work / "whu-opt-sar.zarr", "test", normalisation=kept.normalisation)
    raw, sample = data.tile(0), data[0]
    s2 = torch.from_numpy(raw.s2.astype("float32"))[None]
    grey = np.where(raw.s1 == layout.S1_NODATA, np.nan, raw.s1 * np.float32(0.01))
    s1 = torch.from_numpy(grey.astype("float32"))[None]
    with torch.no_grad():
        inside = Whole(kept.net, kept.normalisation).eval()(s2, s1)
        assert torch.allclose(inside, kept.net(sample["s2"][None], sample["s1"][None]), atol=1e-4)
    assert example(kept, 1, 64)[0].shape == (1, 4, 64, 64)
    with pytest.raises(InputError, match="not empty"):
        export_model(work / "whu", tmp_path / "out")


def test_tar_files_hold_the_store(work, tmp_path):
    files = export_tar(work / "pie-rgb-sar.zarr", tmp_path / "out", per_file=3)
    assert [path.name for path in files] == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    data = TileDataset(work / "pie-rgb-sar.zarr", "val")
    with tarfile.open(files[-1]) as tar:
        names = tar.getnames()
        key = str(data.table["tile_id"].iat[0])
        read = {suffix: tar.extractfile(f"{key}.{suffix}").read() for suffix in ("s2.npy", "label.npy", "json")}
    assert len(names) == 2 * 4 and json.loads(read["json"])["split"] == "val"
    assert np.array_equal(np.load(io.BytesIO(read["label.npy"])), data.tile(0).label)
    assert np.array_equal(np.load(io.BytesIO(read["s2.npy"])), data.tile(0).s2)
    export_tar(work / "pie-rgb-sar.zarr", tmp_path / "again", per_file=3)
    assert all((tmp_path / "again" / path.name).read_bytes() == path.read_bytes() for path in files)


def test_the_report_leaves_out_what_is_not_known(work, tmp_path):
    page = write_report(work / "whu-opt-sar.zarr", tmp_path / "r.html").read_text()
    assert "farmland" in page and "not established" in page and "Where the tiles lie" not in page
