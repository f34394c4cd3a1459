"""The gate: limits are kept, 429s shrink it, Retry-After is obeyed, several processes never add up to too much."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ee
import pytest

from dwplus.earth import errors, limiter
from dwplus.earth.errors import classify, retry_after
from dwplus.earth.limiter import Limiter, RateWindow
from dwplus.earth.sharing import EXPIRY_SECONDS, Coordinator, WorkerState, fair_parts
from dwplus.errors import AccessError, AssetGoneError, RefusedError, StopError, TooLargeError, TransientError
from tests.commands import PATIENCE


def answered(words, status, **headers):
    """An exception as the client raises it: the HTTP answer hangs on the context."""
    class Answer(dict):
        pass

    answer = Answer(headers)
    answer.status = status
    error = ee.EEException(words)
    error.__context__ = SimpleNamespaceError(answer)
    return error


class SimpleNamespaceError(Exception):
    def __init__(self, resp):
        super().__init__("http")
        self.resp = resp


@pytest.mark.parametrize(("words", "status", "kind"), [
    ("Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.", 429,
     TransientError),
    ("Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per "
     "user' of service 'earthengine.googleapis.com'", 429, TransientError),
    ("Quota exceeded: monthly EECU-hours of the project are used up.", 429, AccessError),
    ("An internal error has occurred", 500, TransientError), ("unavailable", 503, TransientError),
    ("User memory limit exceeded.", 400, TooLargeError), ("Computation timed out.", 400, TooLargeError),
    ("Total request size (60000000 bytes) must be less than or equal to 50331648 bytes.", 400, TooLargeError),
    ("Too many pixels in the region.", 400, TooLargeError),
    ("Image.load: Image asset 'X' not found.", 400, AssetGoneError), ("Permission denied.", 403, RefusedError),
    ("Not found.", 404, RefusedError), ("User Rate Limit Exceeded: rateLimitExceeded", 403, TransientError),
    ("Request had invalid authentication credentials.", 401, AccessError),
    ("Earth Engine API has not been used in project 1 before or it is disabled.", 403, AccessError),
])
def test_errors_are_sorted_by_what_to_do(words, status, kind):
    found = classify(answered(words, status))
    assert type(found) is kind and words in str(found)


def test_dropped_and_slow_connections_heal():
    assert type(classify(ConnectionError("reset"))) is TransientError
    assert type(classify(TimeoutError("slow"))) is TransientError


def test_retry_after_is_seconds_or_a_date():
    found = classify(answered("Too Many Requests", 429, **{"retry-after": "7"}))
    assert found.throttled and found.retry_after == 7
    now = errors.dt.datetime(2026, 1, 1, tzinfo=errors.dt.UTC)
    assert retry_after("Thu, 01 Jan 2026 00:00:09 GMT", now) == 9
    assert retry_after("soon") is None and retry_after(None) is None and retry_after("nan") is None
    assert retry_after("-5") == 0 and retry_after("1e9") == errors.LONGEST_RETRY_AFTER


def test_a_window_shrinks_by_a_share_and_grows_by_steps():
    window = RateWindow(40, 100)
    window.throttled(0.0)
    assert (window.slots, window.rate) == (28, 70)
    window.throttled(0.5)  # of requests sent before the first decrease
    assert window.slots == 28
    window.grow(1.0)
    assert window.slots == 28
    window.grow(2.0)
    assert window.slots == 32 and window.rate == pytest.approx(80)
    window.grow(60.0)
    assert (window.slots, window.rate) == (40, 100)
    for second in range(200):
        window.throttled(61.0 + second)
    assert window.slots >= 1 and window.rate >= 1


def test_concurrency_and_rate_are_kept():
    gate = Limiter(5, 50)
    starts, peak, lock, active = [], [0], threading.Lock(), [0]

    def request():
        with lock:
            starts.append(time.monotonic())
            active[0] += 1
            peak[0] = max(peak[0], active[0])
        time.sleep(0.04)
        with lock:
            active[0] -= 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: gate.send(request), range(40)))
    assert peak[0] <= 5
    starts.sort()
    assert starts[-1] - starts[0] >= 39 / 50 - 0.05
    assert gate.requests == 40


def test_metadata_goes_first_and_takes_only_its_share():
    gate = Limiter(5, 10_000)
    order, release = [], threading.Event()

    def request(name):
        order.append(name)
        release.wait(PATIENCE)

    with ThreadPoolExecutor(20) as pool:
        for i in range(5):
            pool.submit(gate.send, lambda i=i: request(f"p{i}"))
        while len(order) < 5:
            time.sleep(0.01)
        for i in range(3):
            pool.submit(gate.send, lambda i=i: request(f"p{5 + i}"))
        for i in range(2):
            pool.submit(gate.send, lambda i=i: request(f"m{i}"), "metadata")
        while gate.demand != (5, 10):
            time.sleep(0.01)
        release.set()
    assert order[5][0] == "m" and len(order) == 10


def test_retry_after_holds_the_whole_gate_back():
    gate = Limiter(4, 1000)
    failed, moments = threading.Event(), []

    def once():
        if not failed.is_set():
            moments.append(time.monotonic())
            failed.set()
            raise answered("Too Many Requests", 429, **{"retry-after": "0.4"})
        return time.monotonic()

    began = time.monotonic()
    assert gate.send(once) - began >= 0.4
    assert gate.throttled == 1 and gate.retried == 1
    failed.clear()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(gate.send, once)
        while gate.throttled == 1:
            time.sleep(0.01)
        assert pool.submit(gate.send, time.monotonic).result() - moments[-1] >= 0.4
        one.result()


def test_what_does_not_heal_is_raised_at_once_and_what_never_heals_at_last(monkeypatch):
    gate = Limiter(4, 1000)
    with pytest.raises(RefusedError):
        gate.send(lambda: (_ for _ in ()).throw(answered("no such band", 400)))
    assert gate.requests == 1
    monkeypatch.setattr(limiter, "_exponential", lambda state: 0.001)
    monkeypatch.setattr(limiter, "OUTAGE_SECONDS", 0.2)
    with pytest.raises(StopError, match="run the same command again"):
        gate.send(lambda: (_ for _ in ()).throw(ConnectionError("down")))

    def down_while_others_succeed():
        gate._answered = time.monotonic() + PATIENCE  # whatever else runs, no outage
        raise ConnectionError("only me")

    before = gate.requests
    with pytest.raises(TransientError, match="only me"):
        gate.send(down_while_others_succeed)
    assert gate.requests - before == limiter.ATTEMPTS


def test_parts_are_fair():
    assert fair_parts(40, {"a": 100, "b": 100, "c": 100}) == {"a": 14, "b": 13, "c": 13}
    assert fair_parts(40, {"a": 100, "b": 3, "c": 0}) == {"a": 37, "b": 3, "c": 0}
    assert sorted(fair_parts(2, {"a": 9, "b": 9, "c": 9}, turn=1).items()) == [("a", 0), ("b", 1), ("c", 1)]
    assert fair_parts(40, {}) == {}


def test_parts_never_add_up_to_more_than_the_whole():
    """Workers that come, go, stall and change their minds; a cut counts once it is confirmed."""
    rng = random.Random(1)
    coordinator = Coordinator(40, 100)
    workers: dict[str, SimpleNamespace] = {}
    now, used = 0.0, 0
    for step in range(5000):
        now += rng.uniform(0, 0.1)
        if rng.random() < 0.02:
            workers[f"w{step}"] = SimpleNamespace(slots=0, rate=0.0, active=0, until=0.0)
        if workers and rng.random() < 0.005:
            workers[rng.choice(list(workers))].until = -1.0  # dies: nothing more is heard of it
        for worker in workers.values():  # requests end and begin, within the part and its lease
            worker.active = rng.randint(0, worker.active)
            if now <= worker.until:
                worker.active = max(worker.active, rng.randint(0, worker.slots))
        live = [name for name, worker in workers.items() if worker.until >= 0]
        if live:
            name = rng.choice(live)
            worker = workers[name]
            grant = coordinator.exchange(WorkerState(name, worker.slots, worker.rate, worker.active,
                                                worker.active + rng.randint(0, 50), int(rng.random() < 0.01)), now)
            assert grant.rate == 0 or grant.rate > 1e-4  # never what rounding left of the others' parts
            worker.slots, worker.rate, worker.until = grant.slots, grant.rate, now + grant.seconds
        for name in [n for n, w in workers.items() if w.until == -1.0]:
            del workers[name]
        assert sum(w.active for w in workers.values()) <= 40
        assert sum(w.rate for w in workers.values() if now <= w.until) <= 100 + 1e-9
        used = max(used, sum(w.slots for w in workers.values()))
    assert used >= 35


def test_a_silent_worker_loses_its_part():
    coordinator = Coordinator(40, 100)
    first = coordinator.exchange(WorkerState("a", 0, 0, 0, 50), 0.0)
    assert first.slots == 40 and first.rate == 100
    assert coordinator.exchange(WorkerState("b", 0, 0, 0, 50), 1.0).slots == 0
    assert coordinator.exchange(WorkerState("b", 0, 0, 0, 50), EXPIRY_SECONDS + 0.1).slots == 40


def test_a_part_next_to_nothing_holds_up_only_while_it_is_in_force():
    """Seen on a crowded machine: what rounding left of a rate, 1e-14 requests a second, put the next start a million
    years off, and the wait for it raised OverflowError."""
    gate = Limiter()
    gate.share()
    with ThreadPoolExecutor(3) as pool:
        gate.grant(5, 1e-14, PATIENCE)
        first = pool.submit(gate.send, time.monotonic)  # the first start waits for no other
        first.result(timeout=PATIENCE)
        rest = [pool.submit(gate.send, time.monotonic) for _ in range(2)]
        time.sleep(0.1)
        assert not any(one.done() for one in rest)
        gate.grant(5, 50.0, PATIENCE)
        for one in rest:
            one.result(timeout=PATIENCE)


def test_a_shared_gate_sends_nothing_without_a_grant():
    gate = Limiter()
    gate.share()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(gate.send, time.monotonic)
        time.sleep(0.1)
        assert not sent.done() and gate.demand == (0, 1)
        gate.grant(1, 50.0, PATIENCE)
        sent.result(timeout=PATIENCE)
    gate.grant(1, 50.0, 0.05)
    time.sleep(0.1)
    assert gate.allowance == (0, 0.0)


def test_a_gate_whose_grants_have_ended_says_so_at_once():
    """A worker that lost its scheduler holds a shard: its requests must not wait for a grant that never comes."""
    gate = Limiter()
    gate.share()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(gate.send, time.monotonic)
        time.sleep(0.1)
        gate.end("the scheduler is lost")
        with pytest.raises(StopError, match="the scheduler is lost"):
            sent.result(timeout=PATIENCE)
    with pytest.raises(StopError):
        gate.send(time.monotonic)
    gate.share()
    gate.grant(1, 50.0, PATIENCE)
    gate.send(time.monotonic)


def test_what_tornado_says_of_dasks_own_calls_is_left_out(caplog):
    from distributed.utils import sync

    from dwplus.runtime import cluster

    cluster._hush()
    logger = logging.getLogger("tornado.application")
    for fail, said in ((lambda: sync(None, None), 0), (lambda: 1 / 0, 1)):
        caplog.clear()
        try:
            fail()
        except Exception:  # whatever it is, raised where it is
            logger.exception("Exception in callback")
        assert len(caplog.records) == said
