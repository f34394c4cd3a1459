"""Errors are types, reasons are codes: nothing is decided by what a message says, and both cross processes whole."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import ee
import pytest

import dwplus
import model
import pipelines
from dwplus import errors
from dwplus.earth.errors import classify
from dwplus.errors.reasons import Reason, meaning
from dwplus.store.shards import DamageError

#: Where the words of a server are sorted into types.
SORTING = {"dwplus/earth/errors.py"}
#: Codes that stores and plans of earlier builds hold.
KEPT = ("no_ecoregion no_label other_ecoregion label_partial label_off_grid no_s2 s2_cloudy s2_partial no_s1 "
        "s1_partial clouded few_labels duplicate no_clear_label cloud_unknown stratum_full asset_gone refused "
        "no_valid_pixel s2_invalid s1_invalid no_scene transient too_large other")


def every(type_: type[errors.DwplusError]) -> list[type[errors.DwplusError]]:
    return [type_, *(found for sub in type_.__subclasses__() for found in every(sub))]


def sources() -> list[Path]:
    root = Path(dwplus.__file__).parents[1]
    return [path for package in ("dwplus", "model", "pipelines") for path in sorted((root / package).rglob("*.py"))
            if "embedded_earth" not in path.parts and path.relative_to(root).as_posix() not in SORTING]


def raise_it(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("type_", every(errors.DwplusError), ids=lambda t: t.__name__)
def test_every_error_pickles_whole(type_):
    error = type_("what, where, what would be right")
    error.__dict__ |= {name: "kept" for name in vars(error)}
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type_ and str(back) == str(error) and vars(back) == vars(error)


def test_errors_cross_processes():
    gone = errors.AssetGoneError("Image asset 'A/1' not found", asset="A/1")
    busy = errors.TransientError("429", throttled=True, retry_after=7.0)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(errors.AssetGoneError) as found:
            pool.submit(raise_it, gone).result()
        assert found.value.asset == "A/1"
        with pytest.raises(errors.TransientError) as found:
            pool.submit(raise_it, busy).result()
        assert found.value.throttled and found.value.retry_after == 7.0


def test_every_error_of_ours_has_one_root():
    for package in (dwplus, model, pipelines):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "embedded_earth" in module.name or module.name.endswith("__main__"):
                continue  # the embedded Earth imports nothing of the rest
            try:
                loaded = importlib.import_module(module.name)
            except ImportError:
                continue  # an extra that is not installed
            for name, type_ in inspect.getmembers(loaded, inspect.isclass):
                if issubclass(type_, Exception) and type_.__module__ == module.name:
                    assert issubclass(type_, errors.DwplusError), f"{module.name}.{name}"


def test_a_damaged_shard_is_still_a_value_error():
    assert issubclass(DamageError, ValueError)


@pytest.mark.parametrize("words,status,asset", [
    ("Image.load: Image asset 'COPERNICUS/S2/X' not found (does not exist or caller does not have access).", 400,
     "COPERNICUS/S2/X"),
    ("Collection.loadTable: Collection asset 'P/T' not found.", 400, "P/T"),
    ("Asset 'P/Q' does not exist or doesn't allow this operation.", 404, "P/Q"),
    ("Requested entity was not found.", 404, "")])
def test_an_asset_that_is_gone_is_a_type(words, status, asset):
    error = ee.EEException(words)
    error.__context__ = Exception()
    error.__context__.resp = type("Answer", (), {"status": status})()
    found = classify(error)
    assert type(found) is errors.AssetGoneError and found.asset == asset and isinstance(found, errors.RefusedError)
    assert Reason.of_error(found) is Reason.ASSET_GONE


@pytest.mark.parametrize("words", [
    "Function not found: 'Image.foo' is no function of Earth Engine.", "Dictionary.get: key not found",
    "Image.select: Band pattern 'B99' was applied to an Image with no bands."])
def test_other_refusals_are_no_missing_assets(words):
    assert type(classify(ee.EEException(words))) is errors.RefusedError


def test_codes_are_those_of_earlier_stores():
    assert set(KEPT.split()) <= {reason.value for reason in Reason}
    for reason in Reason:
        assert reason.meaning and reason.meaning != reason.value
        assert pickle.loads(pickle.dumps(reason)) is reason


def test_a_reason_is_read_back_from_what_a_store_keeps():
    assert Reason.TRANSIENT.says("503: busy") == "transient: 503: busy"
    assert Reason.of("transient: 503: busy") is Reason.TRANSIENT and Reason.of("no_s1") is Reason.NO_S1
    assert Reason.of("transiently odd") is None and Reason.of("") is None and meaning("unheard_of: x") == ""


@pytest.mark.parametrize("error,reason", [
    (errors.AssetGoneError("x"), "asset_gone"), (errors.RefusedError("x"), "refused"),
    (errors.TransientError("x"), "transient"), (errors.TooLargeError("x"), "too_large"),
    (errors.EarthError("x"), "other")])
def test_an_error_has_a_reason(error, reason):
    assert Reason.of_error(error) == reason


def decided_by_words(tree: ast.AST) -> list[int]:
    """Lines that ask what an exception's text holds or begins with."""
    def is_text(node: ast.AST, names: set[str]) -> bool:
        return any(isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in ("str", "repr")
                   and part.args and isinstance(part.args[0], ast.Name) and part.args[0].id in names
                   for part in ast.walk(node))

    lines = []
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or not handler.name:
            continue
        names = {handler.name}
        for node in ast.walk(handler):
            if isinstance(node, ast.Compare) and any(is_text(part, names) for part in (node.left, *node.comparators)):
                lines.append(node.lineno)
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_text(node.func.value, names)
                    and node.func.attr in ("startswith", "endswith", "find", "count")):
                lines.append(node.lineno)
    return lines


def test_the_search_finds_what_it_looks_for():
    found = decided_by_words(ast.parse("try:\n    f()\nexcept E as e:\n    if 'x' in str(e).lower():\n        pass\n"
                                       "    str(e).startswith('y')\n    print(str(e))"))
    assert found == [4, 6]


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.stem)
def test_nothing_is_decided_by_the_words_of_an_error(path):
    assert not decided_by_words(ast.parse(path.read_text()))
