"""``Image.parseExpression``, ``Number.expression`` and ``Filter.expression``: formulas on images, numbers, properties.

Operators are the functions of the same meaning (``+`` is ``Image.add``), so that types, masks and band matching are
theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.bands import constant_band
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.formula import Node, parse
from dwplus.embedded_earth.functions.images import renamed, select_bands
from dwplus.embedded_earth.functions.registry import as_image, call, function, signatures, type_name
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import cast
from dwplus.embedded_earth.values import Band, Filter, Function, Image

_OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "mod", "**": "pow", "==": "eq",
              "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "&&": "and", "||": "or",
              "&": "bitwiseAnd", "|": "bitwiseOr", "^": "bitwiseXor", "<<": "leftShift", ">>": "rightShift"}
_SIGNS = {"!": "not", "~": "bitwiseNot"}
_CONSTANTS = {"PI": math.pi, "E": math.e}


def _applied(context: Context, family: str, name: str, *values: Any) -> Any:
    """A function of a family by place of its arguments."""
    full = f"{family}.{name}"
    names = [entry["argumentName"] for entry in signatures()[full]["arguments"]]
    return call(context, full, dict(zip(names, values, strict=True)))


def _math(node: Node) -> float | None:
    """``Math.PI`` and ``Math.E``."""
    if node.kind == "member" and node.parts[0] == Node("name", "Math"):
        return _CONSTANTS.get(str(node.value))
    return None


def _operated(context: Context, family: str, node: Node, parts: list[Any], where: str) -> Any:
    """Operators and functions, which all families share."""
    operator = str(node.value)
    if node.kind == "binary":
        return _applied(context, family, _OPERATORS[operator], *parts)
    if node.kind == "unary":
        if operator == "+":
            return parts[0]
        if operator == "-":
            return _applied(context, family, "multiply", parts[0], -1)
        return _applied(context, family, _SIGNS[operator], parts[0])
    arguments = signatures().get(f"{family}.{operator}", {}).get("arguments", ())
    count = len(parts)
    if operator in ("min", "max") and count > 2:
        out = parts[0]
        for part in parts[1:]:
            out = _applied(context, family, operator, out, part)
        return out
    if not arguments or not all(entry["type"].split("<")[0] == family for entry in arguments):
        raise ComputeError(f"{where}: Unknown function '{operator}' in the expression.")
    if count != len(arguments):
        raise ComputeError(f"{where}: The function '{operator}' takes {len(arguments)} arguments; got {count}.")
    return _applied(context, family, operator, *parts)


# ------------------------------------------------------------------------------------------------------------- images

_WHERE = "Image.parseExpression"


def chosen(condition: Image, yes: Image, no: Image) -> Image:
    """Pixel by pixel one of two images; masked where the condition or the one it takes is."""
    count = max(len(image.bands) for image in (condition, yes, no))

    def broadcast(image: Image) -> tuple[Band, ...]:
        if len(image.bands) not in (1, count):
            raise ComputeError(f"{_WHERE}: Images must contain the same number of bands or one; got {count} and "
                               f"{len(image.bands)}.")
        return image.bands * count if len(image.bands) == 1 else image.bands

    def of(test: Band, one: Band, other: Band) -> Band:
        to = one.type.union(other.type)

        def read(grid: Grid) -> Pixels:
            (t, t_valid), (a, a_valid), (b, b_valid) = test.read(grid), one.read(grid), other.read(grid)
            take = t != 0
            values = np.where(take, cast(a, to), cast(b, to))
            return values, masks.both(masks.chosen(take, a_valid, b_valid), t_valid)

        base = next((band for band in (one, other, test) if not band.is_composite), one)
        return replace(base, id=one.id if len(yes.bands) >= len(no.bands) else other.id, type=to, read=read,
                       constant=None)

    owner = next((image for image in (yes, no, condition) if image.footprint is not None), yes)
    return owner.computed(of(*bands) for bands in zip(broadcast(condition), broadcast(yes), broadcast(no), strict=True))


class _OnImages:
    """A formula's value, given images by name."""

    def __init__(self, context: Context, default: str, images: Mapping[str, Image], free_to_bands: bool) -> None:
        self._context, self._default, self._images, self._free = context, default, images, free_to_bands

    def _own(self) -> Image:
        if self._default not in self._images:
            raise ComputeError(f"{_WHERE}: The default image '{self._default}' is not among the arguments.")
        return self._images[self._default]

    def _picked(self, image: Image, parts: tuple[Node, ...]) -> Image:
        """Bands by name or number; all without arguments."""
        selectors = []
        for part in parts:
            if part.kind == "unary" and part.value == "-" and part.parts[0].kind == "number":
                selectors.append(-float(part.parts[0].value))
            elif part.kind in ("number", "text"):
                selectors.append(part.value)  # type: ignore[arg-type]
            else:
                raise ComputeError(f"{_WHERE}: Bands are chosen by their number or by a quoted name.")
        return image.with_bands(select_bands(image, selectors)) if selectors else image

    def value(self, node: Node) -> Image:
        """The image a node stands for."""
        self._context.check_time()
        constant = _math(node)
        if constant is not None:
            return Image((constant_band(constant),))
        if node.kind == "number":
            return Image((constant_band(float(node.value) if isinstance(node.value, float) else int(node.value)),))
        if node.kind == "name":
            name = str(node.value)
            if name in self._images:
                return self._images[name]
            return self._picked(self._own(), (Node("text", name),))
        if node.kind == "member":
            return self._picked(self._holder(node.parts[0]), (Node("text", node.value),))
        if node.kind == "index":
            return self._picked(self._holder(node.parts[0]), node.parts[1:])
        if node.kind == "call" and node.value == "b":
            return self._picked(self._own(), node.parts)
        if node.kind == "text":
            raise ComputeError(f"{_WHERE}: The text '{node.value}' is no image; write b('{node.value}') for a band.")
        parts = [self.value(part) for part in node.parts]
        if node.kind == "choice":
            return chosen(*parts)
        return _operated(self._context, "Image", node, parts, _WHERE)

    def _holder(self, node: Node) -> Image:
        return self._own() if node == Node("name", "b") and "b" not in self._images else self.value(node)


def _free_names(node: Node) -> set[str]:
    """Names that a formula needs as images."""
    if _math(node) is not None:
        return set()
    if node.kind == "name":
        return {str(node.value)}
    names = set().union(*(_free_names(part) for part in node.parts)) if node.parts else set()
    if node.kind in ("member", "index") and node.parts[0] == Node("name", "b"):
        names.discard("b")
    return names


@function("Image.parseExpression")
def parse_expression(context: Context, expression: str, default: str, names: list[Any], free_to_bands: bool
                     ) -> Function:
    """A function of the images named in ``vars``."""
    if not all(isinstance(name, str) for name in names):
        raise ComputeError(f"{_WHERE}: Parameter 'vars' must be a list of names.")
    tree = parse(expression, _WHERE)
    label = str(tree.value) if tree.kind == "assign" else None
    body = tree.parts[0] if tree.kind == "assign" else tree
    unknown = sorted(_free_names(body) - set(names))
    if unknown and not free_to_bands:
        raise ComputeError(f"{_WHERE}: The variable '{unknown[0]}' of the expression is not defined. Available: "
                           f"[{', '.join(sorted(set(names) - {default}))}].")

    def run(*values: Any) -> Image:
        images: dict[str, Image] = {}
        for name, value in zip(names, values, strict=True):
            image = as_image(context, value)
            if image is None:
                raise ComputeError(f"{_WHERE}: The variable '{name}' must be an image; got {type_name(value)}.")
            images[name] = image
        result = _OnImages(context, default, images, free_to_bands).value(body)
        if label is None:
            return result
        if len(result.bands) != 1:
            raise ComputeError(f"{_WHERE}: Only a single band can be assigned a name; the result of '{label} = ...' "
                               f"has {len(result.bands)}.")
        return result.with_bands(renamed(result.bands, [label], _WHERE))

    return Function(run, tuple(names))


# ------------------------------------------------------------------------------------------------------------ numbers


def _number(context: Context, node: Node, variables: Mapping[str, Any]) -> Any:
    where = "Number.expression"
    constant = _math(node)
    if constant is not None:
        return constant
    if node.kind == "number":
        return node.value
    if node.kind == "name":
        if node.value not in variables:
            raise ComputeError(f"{where}: The variable '{node.value}' is not defined.")
        return variables[str(node.value)]
    if node.kind == "member":
        holder = _number(context, node.parts[0], variables)
        if not isinstance(holder, dict) or node.value not in holder:
            raise ComputeError(f"{where}: There is no element '{node.value}'.")
        return holder[str(node.value)]
    if node.kind in ("text", "index", "assign"):
        raise ComputeError(f"{where}: The expression holds more than numbers, names and operators.")
    if node.kind == "choice":
        taken = node.parts[1 if _number(context, node.parts[0], variables) else 2]
        return _number(context, taken, variables)
    return _operated(context, "Number", node, [_number(context, part, variables) for part in node.parts], where)


@function("Number.expression")
def number_expression(context: Context, expression: str, variables: dict[str, Any] | None) -> Any:
    found = _number(context, parse(expression, "Number.expression"), variables or {})
    if not isinstance(found, int | float):
        raise ComputeError(f"Number.expression: The result is no number but {type_name(found)}.")
    return found


# ------------------------------------------------------------------------------------------------------------ filters

_RELATIONS = {"==": "equals", "!=": "notEquals", "<": "lessThan", "<=": "lessThanOrEquals", ">": "greaterThan",
              ">=": "greaterThanOrEquals"}


def _operand(node: Node) -> tuple[str, Any]:
    """("Field", name) or ("Value", constant)."""
    if node.kind == "name":
        return ("Value", node.value == "true") if node.value in ("true", "false") else ("Field", node.value)
    if node.kind in ("number", "text"):
        return "Value", node.value
    if node.kind == "unary" and node.value == "-" and node.parts[0].kind == "number":
        return "Value", -float(node.parts[0].value)
    raise ComputeError("Filter.expression: A property name, a number or a quoted text was expected on either side of a "
                       "comparison.")


def _filter(context: Context, node: Node) -> Filter:
    if node.kind == "unary" and node.value == "!":
        return call(context, "Filter.not", {"filter": _filter(context, node.parts[0])})
    if node.kind != "binary":
        raise ComputeError("Filter.expression: A comparison was expected, such as \"cloud < 20\".")
    operator = str(node.value)
    if operator in ("&&", "||"):
        both: list[Filter] = [_filter(context, part) for part in node.parts]
        return call(context, "Filter.and" if operator == "&&" else "Filter.or", {"filters": both})
    if operator not in _RELATIONS:
        raise ComputeError(f"Filter.expression: The operator '{operator}' is not supported in filters.")
    (left, left_value), (right, right_value) = map(_operand, node.parts)
    if left == right == "Value":
        raise ComputeError("Filter.expression: A comparison needs a property name.")
    if left == right:
        raise ComputeError("Filter.expression: Comparing two properties is not supported by the embedded Earth.")
    return call(context, f"Filter.{_RELATIONS[operator]}", {f"left{left}": left_value, f"right{right}": right_value})


@function("Filter.expression")
def filter_expression(context: Context, expression: str) -> Filter:
    return _filter(context, parse(expression, "Filter.expression", fields=True))
