"""What we send to Earth Engine is what was reviewed, and fits the service's signatures."""

from __future__ import annotations

import json

import pytest

from dwplus.embedded_earth.functions.registry import signatures
from tests.golden.graphs import FILE, graphs


@pytest.fixture(scope="module")
def sent():
    return graphs()


def test_graphs_are_the_reviewed_ones(sent):
    """`python -m tests.golden.graphs` renews the file after a change that was meant."""
    kept = json.loads(FILE.read_text())
    assert sorted(kept) == sorted(sent)
    for name in kept:
        assert json.loads(json.dumps(sent[name])) == kept[name], name


def invocations(node):
    if isinstance(node, dict):
        if "functionName" in node:
            yield node["functionName"], node.get("arguments", {})
        for child in node.values():
            yield from invocations(child)
    elif isinstance(node, list):
        for child in node:
            yield from invocations(child)


CONSTANTS = {"String": str, "Integer": (int, float), "Float": (int, float), "Number": (int, float), "Boolean": bool,
             "Long": (int, float), "List": (list, str, int, float), "Dictionary": dict}


def test_every_call_fits_its_signature(sent):
    seen = set()
    for name, graph in sent.items():
        for function, arguments in invocations(graph):
            seen.add(function)
            declared = {a["argumentName"]: a for a in signatures()[function].get("arguments", [])}
            assert set(arguments) <= set(declared), (name, function)
            required = {key for key, a in declared.items() if not a.get("optional")}
            assert required <= set(arguments), (name, function)
            for key, value in arguments.items():
                wanted = CONSTANTS.get(declared[key]["type"].split("<")[0])
                if wanted and "constantValue" in value and value["constantValue"] is not None:
                    assert isinstance(value["constantValue"], wanted), (name, function, key, value)
    assert len(seen) > 30


def test_no_graph_asks_for_what_costs_the_service_most(sent):
    """No reproject and no clip: they make the service compute on grids that nobody asked for."""
    for name, graph in sent.items():
        functions = {function for function, _ in invocations(graph)}
        dear = {"Image.reproject", "Image.clip", "Image.clipToBoundsAndScale", "Collection.iterate"}
        assert not functions & dear, name
