"""What an export costs, measured; restricted mode; the conformance report: on the embedded Earth."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from dwplus.earth import EarthConfig, connect, questions
from dwplus.earth.limiter import RESTRICTED_SECONDS, Limiter, RateWindow
from dwplus.earth.session import embedded_earth
from dwplus.earth.sharing import Coordinator, WorkerState
from dwplus.embedded_earth import EmbeddedEarth, Limits, open_catalog, serve
from dwplus.export.budget import Budget
from dwplus.export.run import export
from dwplus.planning.measure import measure
from dwplus.planning.plan import make_plan, read_plan, spec_of, write_plan
from dwplus.planning.preview import cost, megapixels, preview
from dwplus.spec import make_spec
from pipelines import conformance
from tests.commands import here

BOX = [9.40, 51.25, 9.55, 51.35]


@pytest.fixture(scope="module")
def plan():
    spec = make_spec({"name": "cost", "region": {"bbox": BOX}, "windows": [["2021-06-01", "2021-07-15"]],
                      "tile": {"size": 64}, "sampling": {"per_biome": 6}})
    return make_plan(connect(), spec)


@pytest.fixture(scope="module")
def measured(plan):
    return measure(connect(), plan)


def test_one_tile_is_profiled_and_the_others_in_proportion(measured, plan, tmp_path):
    made, found = measured
    assert found.tile > 0 and found.lookup > 0 and "no EECU: an embedded Earth" in found.line
    planned = made[made["state"] == "planned"]
    assert len(planned) >= 4
    read = megapixels(planned, spec_of(plan))
    np.testing.assert_allclose(planned["eecu_seconds"] / read, found.tile / read[
        planned.index[planned["tile_id"] == found.tile_id][0]])
    write_plan(made, tmp_path / "p.parquet")
    again = read_plan(tmp_path / "p.parquet")
    np.testing.assert_allclose(again.loc[again["state"] == "planned", "eecu_seconds"], planned["eecu_seconds"])
    assert cost(again, spec_of(again)).eecu_hours == pytest.approx(planned["eecu_seconds"].sum() / 3600)


def test_the_preview_says_what_was_measured_and_the_tiers(measured, plan):
    text = "\n".join(preview(measured[0]))
    assert "measured by the profile of one tile" in text and "EECU-second per second" not in text
    for words in ("150 EECU-hours (Community)", "1,000 EECU-hours (Contributor)", "100,000 EECU-hours (Partner)"):
        assert words in text
    assert "assumed, not measured on the service" in "\n".join(preview(plan))


def test_the_budget_counts_from_what_was_measured(measured, plan, tmp_path):
    made, found = measured
    write_plan(made, tmp_path / "p.parquet")
    hours = 0.4 * made["eecu_seconds"].sum() / 3600
    summary = export(tmp_path / "p.parquet", tmp_path / "s.zarr", EarthConfig(), budget=Budget(eecu_hours=hours))
    assert "(measured" in summary.stopped and summary.workload.startswith("dwplus-cost-")
    wall = Budget(eecu_hours=1, eecu_per_request=60.0)
    assert wall.spent(0, request_seconds=1e9, requests=59) == "" and "measured 1" in wall.spent(0, 0, requests=60)
    assert "estimated" in Budget(eecu_hours=1).spent(0, request_seconds=4000, requests=1)


def test_in_restricted_mode_fewer_requests_are_in_flight_and_the_run_says_so(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_plan(plan, tmp_path / "p.parquet")
    earth = EmbeddedEarth(open_catalog(), latency_s=0.05, limits=Limits(restricted=True))
    server = serve(earth).start()
    try:
        done = here("dwplus", "export", tmp_path / "p.parquet", tmp_path / "s.zarr", "--world", server.url,
                    "--no-quicklooks")
        session = connect(world=server.url)
        assert session.limiter.allowance[0] == 10 and earth.gate.peak <= 10
    finally:
        server.close()
    assert done.returncode == 0 and "restricted mode: the service says" in done.stdout


def test_restriction_ends_some_time_after_the_last_answer_that_said_so():
    window = RateWindow(40, 100)
    assert window.slots == 40
    window.restrict(5.0)
    assert window.slots == 10
    window.grow(5.0 + RESTRICTED_SECONDS - 1)
    assert window.slots == 10
    window.grow(5.0 + RESTRICTED_SECONDS + 1)
    assert window.slots == 40


def test_restriction_reaches_all_workers():
    coordinator = Coordinator(40, 100)
    now = time.monotonic()
    assert coordinator.exchange(WorkerState("a", 0, 0, 0, 50), now).slots == 40
    coordinator.exchange(WorkerState("a", 40, 50, 0, 50, restricted=1), now + 1)
    assert coordinator.exchange(WorkerState("a", 10, 50, 0, 50, restricted=1), now + 2).slots == 10
    limiter = Limiter()
    limiter.restricted_by(False)
    assert limiter.allowance[0] == 40 and limiter.state().counts.restricted == 0


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("conformance") / "report.json"
    done = here("dwplus", "doctor", "--conformance", "-o", path)
    assert done.returncode == 0 and "about 20 requests, 30 at most" in done.stdout.splitlines()[0]
    return json.loads(path.read_text())


def test_the_report_holds_what_is_asked_for(report):
    assert report["requests"] <= conformance.MOST_REQUESTS
    assert report["NPY of mixed types"]["dtype"] == str(
        [("byte", "u1"), ("uint16", "<u2"), ("int32", "<i4"), ("float", "<f4"), ("double", "<f8")])
    values = np.array(report["bilinear beside masked pixels"]["value"])
    masks = np.array(report["bilinear beside masked pixels"]["mask"])
    assert ((masks > 0) == (values >= 0)).all() and 0 < (masks == 0).mean() < 0.5
    edge = report["masks of the 100 m pyramid"]
    assert edge["none"] and edge["all"] and edge["none"] + edge["in part"] + edge["all"] == 1024
    assert (np.array(report["bilinear at the scene's edge"]["mask"])[:, :5] == 0).all()
    twins = report["ids of one scene"]
    assert twins["scenes"]["L1C"] >= twins["scenes"]["L2A"] > 0 and twins["label without L1C"] == []
    platforms = report["platforms"]
    assert set(platforms["platform_number"]) >= {"A", "C"} and platforms["IW scenes"] > 0
    assert report["profile of the tile, EECU-s"] > 0 and report["semantics"]["month end"] == "2021-02-28"


def test_no_question_is_asked_beyond_the_last_request(monkeypatch):
    monkeypatch.setattr(conformance, "MOST_REQUESTS", 12)
    session = connect()
    before = session.limiter.requests
    made = conformance.report(session)
    assert "not asked" in str(made["platforms"]) and session.limiter.requests - before <= 16  # planning comes first


def test_a_refusal_is_an_answer(monkeypatch):
    monkeypatch.setattr(questions, "platforms", lambda box: questions.band("no/such/image"))
    assert "not found" in conformance.report(connect())["platforms"]


def test_a_report_that_cannot_be_written_asks_nothing(tmp_path):
    done = here("dwplus", "doctor", "--conformance", "-o", tmp_path / "no" / "x.json")
    assert done.returncode == 2 and "cannot be written" in done.stderr


def test_limits_of_a_server_by_name():
    done = here("dwplus", "earth", "serve", "--limit", "edges=none")
    assert done.returncode == 2 and "limit 'edges=none'" in done.stderr
    assert embedded_earth(None, limits=Limits(edges=5)).limits.edges == 5
