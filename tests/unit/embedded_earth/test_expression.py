"""Formulas against Python's own evaluation of the same text, and against tables of precedence."""

from __future__ import annotations

import math

import ee
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.embedded_earth.conftest import pixels

pytestmark = pytest.mark.usefixtures("earth")


def bands(catalog):
    return {k: v.astype(float) for k, v in catalog.image("T/OPT/s0").arrays.items()}


def only(image):
    got = pixels(image)
    assert len(got.dtype.names) == 1
    return got[got.dtype.names[0]]


def number(text, **variables):
    """A formula of constants, as pixels."""
    return pixels(ee.Image(0).expression(text, variables), width=1, height=1)[0, 0].item()[0]


def test_the_usual_index_in_all_its_spellings(catalog):
    b = bands(catalog)
    image = ee.Image("T/OPT/s0")
    want = (b["B3"] - b["B2"]) / (b["B3"] + b["B2"] + 1.0)
    for text, variables in (
            ("(b('B3') - b('B2')) / (b('B3') + b('B2') + 1.0)", None),
            ('(b("B3") - b("B2")) / (b("B3") + b("B2") + 1.0)', None), ("(b(1) - b(0)) / (b(1) + b(0) + 1.0)", None),
            ("(b.B3 - b.B2) / (b.B3 + b.B2 + 1.0)", None), ("(b[1] - b['B2']) / (b[-2] + b[0] + 1.0)", None),
            ("(nir - red) / (nir + red + L)", {"nir": image.select("B3"), "red": image.select("B2"), "L": 1.0}),
            ("(x.B3 - x['B2']) / (x[1] + x[0] + 1.0)", {"x": image})):
        np.testing.assert_allclose(only(image.expression(text, variables)), want, rtol=1e-6, err_msg=text)


def test_all_bands_some_bands_and_names(catalog):
    b = bands(catalog)
    image = ee.Image("T/OPT/s0").select(["B2", "B3"])
    assert pixels(image.expression("b() + 1")).dtype.names == ("B2", "B3")
    got = pixels(image.expression("x + b(1)", {"x": image}))
    np.testing.assert_array_equal(got["B2"], b["B2"] + b["B3"])
    np.testing.assert_array_equal(got["B3"], b["B3"] + b["B3"])
    assert pixels(image.expression("b(1, 'B2')")).dtype.names == ("B3", "B2")
    named = image.expression("evi = 2.5 * b('B3')")
    assert named.bandNames().getInfo() == ["evi"]
    np.testing.assert_allclose(only(named), 2.5 * b["B3"])
    with pytest.raises(ee.EEException, match="single band"):
        image.expression("two = b()").getInfo()


leaves = st.sampled_from(["B2", "B3", "2", "3.5", "0.25"])
formulas = st.recursive(leaves, lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from([" + ", "-", " * ", "/"]), inner).map("".join),
    inner.map(lambda text: f"({text})"), inner.map(lambda text: f"-({text})"), inner.map(lambda text: f"({text})**2"),
    inner.map(lambda text: f"abs({text})")), max_leaves=8)


@given(text=formulas)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arithmetic_agrees_with_python(catalog, text):
    image = ee.Image("T/OPT/s0")
    b = bands(catalog)
    variables = {"B2": image.select("B2").toDouble(), "B3": image.select("B3").toDouble()}
    got = only(image.expression(text, variables).toDouble().unmask(-12345, False))
    with np.errstate(all="ignore"):
        want = np.broadcast_to(eval(text, {"__builtins__": {}, "abs": np.abs}, b), got.shape).astype(float)  # noqa: S307
    fine = np.isfinite(want) & (got != -12345)
    np.testing.assert_allclose(got[fine], want[fine], rtol=1e-6, atol=1e-6)
    assert fine.mean() > 0.9 or not np.isfinite(want).all() or "/" in text


@pytest.mark.parametrize(("text", "value"), [
    ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 ** 3 ** 2", 512), ("-2 ** 2", -4), ("2 ** -1", 0.5), ("7 % 4", 3),
    ("-7 % 4", -3), ("10 - 4 - 3", 3), ("64 / 4 / 2", 8), ("1 < 2", 1), ("2 <= 1", 0), ("3 > 2 == 1", 1),
    ("1 == 1 && 2 != 2", 0), ("0 || 3", 1), ("!5", 0), ("!0", 1), ("!!7", 1), ("1 || 0 && 0", 1),
    ("6 & 3", 2), ("6 | 3", 7), ("6 ^ 3", 5), ("1 << 4", 16), ("256 >> 4", 16), ("~5", -6), ("1 | 2 ^ 3 & 2", 1),
    ("6 & 3 == 3", 0), ("1 + 1 << 2", 8), ("0 ? 1 : 2", 2), ("1 ? 0 ? 1 : 2 : 3", 2), ("0 ? 1 : 1 ? 4 : 5", 4),
    ("1 > 2 ? 3 : 4", 4), ("0x1F", 31), (".5 + 5.", 5.5), ("1e3", 1000), ("2.5E-1", 0.25), ("- - 3", 3), ("+3", 3),
    ("min(3, 1, 2)", 1), ("max(3, 5)", 5), ("abs(-3)", 3), ("pow(2, 5)", 32), ("sqrt(16)", 4), ("exp(0)", 1),
    ("log(1)", 0), ("log10(1000)", 3), ("floor(2.7)", 2), ("ceil(2.1)", 3), ("round(2.5)", 3), ("hypot(3, 4)", 5),
    ("atan2(1, 1)", math.pi / 4), ("Math.PI", math.pi), ("Math.E", math.e), ("Math.max(2, 3)", 3),
    ("sin(Math.PI / 6)", 0.5), ("signum(-4)", -1), ("1 \n + \t 1", 2)])
def test_operators_and_their_order(text, value):
    assert number(text) == pytest.approx(value, rel=1e-6)
    if not any(word in text for word in ("signum", "min(3", "Math.max")):
        assert ee.Number.expression(text).getInfo() == pytest.approx(value)


def test_ternary_takes_pixels_with_their_masks(catalog):
    scene = catalog.image("T/OPT/s0")
    label, valid = scene.arrays["label"].astype(int), scene.valid["label"]
    image = ee.Image("T/OPT/s0")
    got = only(image.expression("b('B2') > 2000 ? b('label') : b('B3')").unmask(-1, False))
    high = scene.arrays["B2"] > 2000
    np.testing.assert_array_equal(got, np.where(high, np.where(valid, label, -1), scene.arrays["B3"]))
    got = only(image.expression("b('label') > 4 ? 1 : 2").unmask(-1, False))
    np.testing.assert_array_equal(got, np.where(valid, np.where(label > 4, 1, 2), -1))


def test_masks_of_all_inputs_meet(catalog):
    valid = [catalog.image("T/OPT/s0").valid["label"], catalog.image("T/OPT/s1").valid["label"]]
    one, other = ee.Image("T/OPT/s0").select("label"), ee.Image("T/OPT/s1").select("label")
    got = only(ee.Image().expression("a + b * 0", {"a": one, "b": other}).unmask(255, False))
    overlap = np.zeros(got.shape, bool)
    overlap[:, 10:] = valid[0][:, 10:] & valid[1][:, :-10]
    np.testing.assert_array_equal(got != 255, overlap)


def test_integers_stay_integers():
    got = pixels(ee.Image("T/OPT/s0").expression("b('B2') + 1"))
    assert got.dtype[0].kind in "iu"


def test_bitwise_not(catalog):
    got = only(ee.Image("T/OPT/s0").select("B2").bitwiseNot())
    np.testing.assert_array_equal(got, ~catalog.image("T/OPT/s0").arrays["B2"].astype(int))


def test_numbers_with_variables():
    assert ee.Number.expression("a.b * x + Math.round(c)", {"a": {"b": 3}, "x": ee.Number(4), "c": 2.6}).getInfo() == 15
    assert ee.Number.expression("x > 2 ? x : 1 / 0", {"x": 3}).getInfo() == 3
    for text in ("y", "x.z", "'a'", "frob(1)", "x +", "add(1)"):
        with pytest.raises(ee.EEException, match=r"Number\.expression"):
            ee.Number.expression(text, {"x": {"y": 1}}).getInfo()


@pytest.mark.parametrize(("text", "kept"), [
    ("cloud < 25", [1, 3]), ("cloud <= 20 || cloud == 40", [0, 1, 3]), ("!(cloud > 15)", [1]),
    ("cloud >= 20 && cloud != 40", [2, 3]), ("30 > cloud", [1, 3]), ("system:index == 's2'", [2]),
    ('system:index != "s2" && (cloud > 15)', [0, 3]), ("cloud > -1", [0, 1, 2, 3])])
def test_filters(text, kept):
    found = ee.ImageCollection("T/OPT").filter(ee.Filter.expression(text)).aggregate_array("system:index").getInfo()
    assert found == [f"s{i}" for i in kept]


@pytest.mark.parametrize(("text", "words"), [
    ("b('B2') +", "unexpected end"), ("b('B2') $ 2", "position 9"), ("(1 + 2", "unexpected end"), ("1 2", "'2'"),
    ("frob(b(0))", "frob"), ("x + 1", "'x'"), ("b('B99')", "B99"), ("b(7)", "out of bounds"), ("sqrt(1, 2)", "sqrt"),
    ("'B2'", "B2"), ("", "unexpected end"), ("1 ? 2", "unexpected end"), ("b(b(0))", "number or by a quoted name"),
    ("__import__(1)", "__import__"), ("x.frob(1)", "no function"), ("(" * 500 + "1" + ")" * 500, "deep"),
    ("-" * 5000 + "1", "deep"), ("1" + "+1" * 5000, "deep"), ("1" + "**1" * 5000, "deep"),
    ("1?" * 3000, "deep"), ("1" * 200_000, "longer"), ("b" + "[0]" * 5000, "deep")])
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(ee.EEException, match=r"(Image|expression)") as error:
        pixels(ee.Image("T/OPT/s0").expression(text), width=2, height=2)
    assert words in str(error.value)


@given(text=st.text(alphabet="b(0)'B2\"+-*/%<>=!&|^~?:.,[]x 1e", max_size=30))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_the_parser(text):
    try:
        pixels(ee.Image("T/OPT/s0").expression(text), width=1, height=1)
    except ee.EEException as error:
        assert "internal error" not in str(error)
