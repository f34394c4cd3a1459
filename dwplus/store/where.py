"""Conditions on the columns of a table, in words of Python and nothing else of it: no calls, no attributes."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dwplus.errors import InputError

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod}
#: Longest condition that is read.
_LONGEST = 4000


def chosen(table: pd.DataFrame, where: str) -> np.ndarray:
    """Which rows meet a condition, bool (row,).

    Parameters
    ----------
    where : such as ``biome == 9 and gap_hours < 24``: names of columns, numbers, texts and lists of them,
        ``and or not``, comparisons, ``in``, ``+ - * / %``. Times are compared with texts such as ``'2021-06-01'``.

    Raises
    ------
    InputError
        Where it is no such condition, or names a column that there is not.
    """
    if len(where) > _LONGEST:
        raise InputError(f"condition of {len(where)} characters: must be at most {_LONGEST} long")
    try:
        tree = ast.parse(where.strip(), mode="eval").body
        found = _value(tree, table, where)
        if isinstance(found, bool | np.bool_):
            found = np.full(len(table), bool(found))
        found = np.asarray(found)
        if found.dtype != bool:
            raise InputError(f"condition {where!r}: is a value for each tile, must be true or false, such as "
                             "`biome == 9 and gap_hours < 24`")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise InputError(f"condition {where!r}: cannot be read ({' '.join(str(error).split())[:120]}); must be such as "
                         "`biome == 9 and gap_hours < 24`") from None
    return found


def _value(node: ast.expr, table: pd.DataFrame, where: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in table:
            raise InputError(f"condition {where!r}: {node.id!r} is no column; there are {', '.join(map(str, table))}")
        values = table[node.id]
        return values.astype(str) if isinstance(values.dtype, pd.CategoricalDtype) else values
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, table, where) for each in node.elts]
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, table, where)
        if isinstance(node.op, ast.Not):
            return ~_truth(inner, where)
        if isinstance(node.op, ast.USub | ast.UAdd):
            return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BoolOp):
        parts = [_truth(_value(each, table, where), where) for each in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(np.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0]
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.left, table, where), _value(node.right, table, where))
    if isinstance(node, ast.Compare):
        values = [_value(each, table, where) for each in (node.left, *node.comparators)]
        parts = [_compared(op, one, other, where) for op, one, other in zip(node.ops, values, values[1:], strict=False)]
        return np.logical_and.reduce(np.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0]
    words = ast.unparse(node)
    raise InputError(f"condition {where!r}: {words!r} is not allowed; conditions hold columns, numbers, texts, lists, "
                     "comparisons, `and`, `or`, `not`, `in` and + - * / %")


def _truth(found: Any, where: str) -> np.ndarray:
    found = np.asarray(found)
    if found.dtype != bool:
        raise InputError(f"condition {where!r}: `and`, `or` and `not` join comparisons, such as `biome == 9`")
    truth: np.ndarray = found
    return truth


def _compared(op: ast.cmpop, one: Any, other: Any, where: str) -> np.ndarray:
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(one, pd.Series) or not isinstance(other, list):
            raise InputError(f"condition {where!r}: `in` takes a column and a list, such as `biome in [4, 5]`")
        inside: np.ndarray = one.isin(other).to_numpy()
        return inside if isinstance(op, ast.In) else ~inside
    if type(op) not in _COMPARE:
        raise InputError(f"condition {where!r}: comparisons are == != < <= > >= and `in`")
    one, other = (_as_time(a, b) for a, b in ((one, other), (other, one)))
    found: np.ndarray = np.asarray(_COMPARE[type(op)](one, other))
    return found


def _as_time(value: Any, beside: Any) -> Any:
    """A text that stands beside a column of times, as time (UTC)."""
    if isinstance(value, str) and isinstance(beside, pd.Series) and isinstance(beside.dtype, pd.DatetimeTZDtype):
        return pd.Timestamp(value, tz="UTC")
    return value
