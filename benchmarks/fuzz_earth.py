"""Throw hostile requests at the embedded Earth: ``python -m benchmarks.fuzz_earth --minutes 20``.

Graphs are drawn from the signatures of all supported functions with arguments of right and wrong types, nested at
random; real graphs are mutated; bodies are cut and garbled; asset ids try to leave the archive. Every request must get
an answer: anything but a crash, an internal error (500) or more time than the deadline. Prints what broke and how often
each status was answered; the exit code is 1 where something broke.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import resource
import sys
import time
from typing import Any

from dwplus.embedded_earth import EmbeddedEarth, Limits, open_catalog
from dwplus.embedded_earth.functions import supported
from dwplus.embedded_earth.functions.registry import signatures

DEADLINE_S = 10.0
IDS = ["COPERNICUS/S2_HARMONIZED", "COPERNICUS/S1_GRD", "GOOGLE/DYNAMICWORLD/V1", "SAMPLE/SITES", "SAMPLE/TRUTH",
       "RESOLVE/ECOREGIONS/2017", "../../etc/passwd", "", "a" * 5000, "projects/x/assets/y", "COPERNICUS/S1_GRD/x",
       "/etc/passwd", "SAMPLE/TRUTH/rondonia_2021"]
SCALARS: list[Any] = [
    0, 1, -1, 2.5, 1e308, -1e308, 10**30, 255, 4326, True, None, "", "x", "B2", "label", ".*", "(", "EPSG:4326",
    "EPSG:32633", "2021-01-01", "not a date", "\u0000", "é" * 100, "system:time_start", "day", [], {}, [1, 2, 3],
    [[0, 0], [1, 1]], {"type": "Point", "coordinates": [0, 0]}, {"a": 1}]


class Fuzzer:
    """Requests from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = supported()
        self.by_return: dict[str, list[str]] = collections.defaultdict(list)
        for name in self.names:
            self.by_return[signatures()[name].get("returnType", "").split("<")[0]].append(name)

    def value(self, kind: str, depth: int) -> dict[str, Any]:
        """A node that may or may not be of a type."""
        r = self.random
        kind = kind.split("<")[0]
        if r.random() < 0.12:
            kind = r.choice(list(self.by_return))
        makers = self.by_return.get(kind) or self.by_return.get({"FeatureCollection": "ImageCollection",
                                                                  "Element": "Feature"}.get(kind, kind), [])
        if depth > 0 and makers and r.random() < 0.75:
            return self.call(r.choice(makers), depth - 1)
        if kind in ("Image", "ImageCollection", "FeatureCollection") or r.random() < 0.1:
            loader = {"Image": "Image.load", "ImageCollection": "ImageCollection.load"}.get(kind,
                                                                                            "Collection.loadTable")
            return {"functionInvocationValue": {"functionName": loader, "arguments": {
                ("tableId" if loader == "Collection.loadTable" else "id"): {"constantValue": r.choice(IDS)}}}}
        if kind == "Algorithm":
            return {"functionDefinitionValue": {"argumentNames": ["x", "y"][:r.randint(0, 2)], "body": "body"}}
        return {"constantValue": r.choice(SCALARS)}

    def call(self, name: str, depth: int) -> dict[str, Any]:
        arguments = {}
        for entry in signatures()[name].get("arguments", []):
            if entry.get("optional") and self.random.random() < 0.6:
                continue
            if self.random.random() < 0.03:
                continue
            arguments[entry["argumentName"]] = self.value(entry["type"], depth)
        if self.random.random() < 0.02:
            arguments["surplus"] = {"constantValue": 1}
        return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}

    def expression(self) -> dict[str, Any]:
        depth = self.random.choice([0, 1, 1, 2, 3])
        root = self.call(self.random.choice(self.names), depth)
        body = self.random.choice([{"argumentReference": "x"}, {"constantValue": 1}, {"valueReference": "0"},
                                   self.value("Image", 1)])
        return {"result": "0", "values": {"0": root, "body": body}}

    def mutated(self, expression: dict[str, Any]) -> dict[str, Any]:
        """A real graph with something broken in it."""
        graph = copy.deepcopy(expression)
        places: list[tuple[Any, Any]] = []

        def walk(node: Any) -> None:
            items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, child in items:
                places.append((node, key))
                walk(child)

        walk(graph)
        for _ in range(self.random.randint(1, 3)):
            node, key = self.random.choice(places)
            choice = self.random.random()
            try:
                if choice < 0.3:
                    node[key] = self.random.choice(SCALARS)
                elif choice < 0.5 and isinstance(node, dict):
                    node.pop(key, None)
                elif choice < 0.8:
                    node[key] = self.value(self.random.choice(["Image", "Number", "Filter", "Geometry"]), 1)
                else:
                    node[key] = {"valueReference": self.random.choice(["0", "1", "nowhere"])}
            except (KeyError, IndexError, TypeError):
                continue
        return graph

    def request(self, real: list[dict[str, Any]]) -> tuple[str, str, bytes]:
        """(method, path, body)."""
        r = self.random
        expression = self.mutated(r.choice(real)) if real and r.random() < 0.4 else self.expression()
        what = r.random()
        body: dict[str, Any]
        if what < 0.55:
            path, body = "/v1/projects/p/value:compute", {"expression": expression}
        elif what < 0.85:
            path, body = "/v1/projects/p/image:computePixels", {
                "expression": expression, "fileFormat": r.choice(["NPY", "GEO_TIFF", "PNG", "NONSENSE"]),
                "grid": {"crsCode": r.choice(["EPSG:32633", "EPSG:4326", "EPSG:3857", "nonsense"]),
                         "dimensions": {"width": r.choice([1, 8, 64, 0, -1, 10**9]), "height": r.choice([1, 8, 64])},
                         "affineTransform": {"scaleX": r.choice([10, 1e-4, 0, 1e300]), "scaleY": -10,
                                             "translateX": r.choice([5e5, 14.0, -1e20]), "translateY": 5e6}}}
        elif what < 0.95:
            path, body = "/v1/projects/p/table:computeFeatures", {"expression": expression,
                                                                  "pageToken": r.choice(["", "5", "x", "-1"])}
        else:
            verb = r.choice(["", ":getPixels", ":listAssets", ":listFeatures", ":nonsense"])
            path = f"/v1/projects/earthengine-public/assets/{r.choice(IDS)}{verb}"
            return r.choice(["GET", "POST"]), path, b"{}"
        raw = json.dumps(body).encode()
        if r.random() < 0.05:
            raw = raw[:r.randrange(len(raw))]
        return "POST", path, raw


def real_graphs() -> list[dict[str, Any]]:
    """The graphs that the exporter itself sends."""
    from tests.golden.graphs import graphs

    return list(graphs().values())


def run(seconds: float, seed: int = 0, real: list[dict[str, Any]] | None = None) -> tuple[dict[int, int], list[str]]:
    """Fuzz for a while.

    Returns
    -------
    Counts by status, and one line for each thing that broke.
    """
    earth = EmbeddedEarth(open_catalog(), limits=Limits(seconds=DEADLINE_S, per_second=None))
    fuzzer = Fuzzer(seed)
    counts: dict[int, int] = collections.Counter()
    broken: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        method, path, body = fuzzer.request(real or [])
        began = time.process_time()
        answer = earth.handle(method, path, {}, {}, body)
        took = time.process_time() - began  # of the processor: on a shared machine the clock tells of the neighbours
        counts[answer.status] += 1
        if answer.status == 500 or took > 3 * DEADLINE_S:
            broken.append(f"{answer.status} after {took:.1f} s: {answer.body[:300]!r} to {body[:600]!r}")
    return dict(counts), broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    import logging

    logging.disable(logging.CRITICAL)
    counts, broken = run(60 * arguments.minutes, arguments.seed, real_graphs())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{sum(counts.values())} requests: {dict(sorted(counts.items()))}; peak memory {memory:.0f} MiB")
    for line in broken[:50]:
        print(line)
    print(f"{len(broken)} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
