"""Numbers as texts by a printf pattern in Java's dialect, which is the service's.

Source: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Formatter.html
"""

from __future__ import annotations

import decimal
import math
import re

from dwplus.embedded_earth.errors import ComputeError

_SPECIFIER = re.compile(r"%(?:1\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")


def java_double(value: float) -> str:
    """A number as ``Double.toString`` writes it; whole numbers of an integer type have no point."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = repr(float(value))
        return f"{float(value):f}" if "e" in text else text
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{exponent + len(digits) - 1}"


def _rounded(value: float, places: int) -> str:
    """With so many decimals, halves of the shortest decimal text away from zero."""
    step = decimal.Decimal(1).scaleb(-places)
    with decimal.localcontext(prec=1_400):
        return f"{abs(decimal.Decimal(repr(value))).quantize(step, decimal.ROUND_HALF_UP):f}"


def _scientific(value: float, places: int) -> str:
    found = abs(decimal.Decimal(repr(value)))
    with decimal.localcontext(prec=places + 1, rounding=decimal.ROUND_HALF_UP):
        text = f"{+found:.{places}e}" if found else f"{0:.{places}e}"
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].rjust(2, '0')}"


def _general(value: float, places: int) -> str:
    """``%g``: significant digits, none of them dropped; as a power of ten outside 1e-4 to ten to the digits."""
    digits = places or 1
    with decimal.localcontext(prec=digits, rounding=decimal.ROUND_HALF_UP):
        size = +abs(decimal.Decimal(repr(value)))
    if size and not decimal.Decimal("1e-4") <= size < decimal.Decimal(10) ** digits:
        return _scientific(value, digits - 1)
    return _rounded(value, digits - 1 - size.adjusted() if size else digits - 1)


def _body(value: float, kind: str, precision: int | None) -> str:
    """Digits without a sign."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity"
    places = 6 if precision is None else precision
    if kind == "f":
        return _rounded(value, places)
    if kind == "e":
        return _scientific(value, places)
    if kind == "g":
        return _general(value, places)
    whole = abs(int(value))
    return f"{whole:d}" if kind == "d" else f"{whole:x}" if kind == "x" else f"{whole:o}"


def _specified(value: float, flags: str, width: int, precision: int | None, kind: str, pattern: str) -> str:
    if kind == "%":
        return "%"
    if kind in "sS":
        text = java_double(value) if precision is None else java_double(value)[:precision]
        text = text.upper() if kind == "S" else text
        return text.ljust(width) if "-" in flags else text.rjust(width)
    lower = kind.lower()
    if lower not in "dxofeg" or (kind in "DOF") or (precision is not None and lower in "dxo"):
        raise ComputeError(f"Number.format: bad pattern '{pattern[:40]}'.")
    if lower in "xo" and value < 0:
        raise ComputeError(f"Number.format: '%{kind}' of a negative number is not supported by the embedded Earth.")
    text = _body(value, lower, precision)
    negative = value < 0 or (value == 0 and math.copysign(1, value) < 0 and lower in "feg")
    finite = math.isfinite(value)
    if "," in flags and finite:
        head, point, tail = text.partition(".")
        text = f"{int(head):,}{point}{tail}"
    if "#" in flags and lower in "xo":
        text = ("0x" if lower == "x" else "0") + text
    before, after = (
        ("(", ")")
        if negative and "(" in flags
        else ("-", "")
        if negative
        else ("+", "")
        if "+" in flags
        else (" ", "")
        if " " in flags
        else ("", "")
    )
    if "0" in flags and finite:
        text = text.rjust(width - len(before) - len(after), "0")
    text = before + text + after
    text = text.upper() if kind.isupper() else text
    return text.ljust(width) if "-" in flags else text.rjust(width)


def formatted(pattern: str, value: float) -> str:
    """A number by a pattern.

    Raises
    ------
    ComputeError
        For a pattern that Java would not take.
    """
    rest = _SPECIFIER.sub("", pattern)
    if "%" in rest:
        raise ComputeError(f"Number.format: bad pattern '{pattern[:40]}'.")

    def one(match: re.Match[str]) -> str:
        flags, width, precision, kind = match.groups()
        return _specified(value, flags, int(width or 0), None if precision is None else int(precision), kind, pattern)

    return _SPECIFIER.sub(one, pattern)
