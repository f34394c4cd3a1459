"""Evaluating an expression: ``{"result": id, "values": {id: node}}``.

A part of the graph without free arguments is evaluated once per request; inside a function, once per call.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.values import Function

_NONE: frozenset[str] = frozenset()
#: Nodes nested inside one another; the service refuses deep graphs as well.
MAX_DEPTH = 200

Call = Callable[[str, dict[str, Any]], Any]


class _Frame:
    """Arguments of a function call, with the results that depend on them."""

    __slots__ = ("memo", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.memo: dict[str, Any] = {}


class Graph:
    """One expression.

    Parameters
    ----------
    expression : as the client sends it.
    call : calls a built-in function by name.

    Raises
    ------
    ComputeError
        For an expression that is none.
    """

    def __init__(self, expression: Any, call: Call) -> None:
        if not isinstance(expression, dict) or not isinstance(expression.get("values"), dict):
            raise ComputeError("Invalid expression: an object with 'result' and 'values' was expected.")
        self._values: dict[str, Any] = expression["values"]
        self._result = expression.get("result")
        self._call = call
        self._free: dict[str, frozenset[str]] = {}
        self._open: set[str] = set()
        self._memo: dict[str, Any] = {}

    def evaluate(self) -> Any:
        """The value of the expression."""
        reference = {"valueReference": self._result}
        try:
            self._free_of(reference, 0)
        except (AttributeError, TypeError) as error:  # a list where an object belongs, and the like
            raise ComputeError("Invalid expression: a value node does not have the form of its kind.") from error
        return self._node(reference, _Frame({}))

    def forget(self) -> None:
        """Let go of all results, once the answer is there: functions among them know the graph, and would keep it and
        the pixels of its images until the collector came."""
        self._memo.clear()

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or reference not in self._values:
            raise ComputeError(f"Invalid expression: the reference {str(reference)[:40]!r} leads nowhere.")
        return self._values[reference]

    def _free_of(self, node: Any, depth: int) -> frozenset[str]:
        """Names of arguments a node needs from outside; finds cycles and graphs too deep on the way."""
        if depth > MAX_DEPTH:
            raise ComputeError(f"Invalid expression: nested more than {MAX_DEPTH} deep.")
        if not isinstance(node, dict):
            raise ComputeError("Invalid expression: a value node must be an object.")
        if "valueReference" in node:
            reference = node["valueReference"]
            target = self._target(reference)
            if reference in self._open:
                raise ComputeError(f"Invalid expression: the value {reference!r} refers to itself.")
            if reference not in self._free:
                self._open.add(reference)
                self._free[reference] = self._free_of(target, depth + 1)
                self._open.discard(reference)
            return self._free[reference]
        if "argumentReference" in node:
            if not isinstance(node["argumentReference"], str):
                raise ComputeError("Invalid expression: an argument reference must be a name.")
            return frozenset([node["argumentReference"]])
        if "functionDefinitionValue" in node:
            definition = node["functionDefinitionValue"]
            inner = self._free_of({"valueReference": definition.get("body")}, depth + 1)
            return inner - frozenset(definition.get("argumentNames", ()))
        children: list[Any] = []
        if "arrayValue" in node:
            children = list(node["arrayValue"].get("values", ()))
        elif "dictionaryValue" in node:
            children = list(node["dictionaryValue"].get("values", {}).values())
        elif "functionInvocationValue" in node:
            invocation = node["functionInvocationValue"]
            children = list(invocation.get("arguments", {}).values())
            if "functionReference" in invocation:
                children.append({"valueReference": invocation["functionReference"]})
        free = _NONE
        for child in children:
            free |= self._free_of(child, depth + 1)
        return free

    def _node(self, node: dict[str, Any], frame: _Frame) -> Any:
        if "constantValue" in node:
            return node["constantValue"]
        if "valueReference" in node:
            reference = node["valueReference"]
            memo = frame.memo if self._free.get(reference) else self._memo
            if reference not in memo:
                memo[reference] = self._node(self._target(reference), frame)
            return memo[reference]
        if "argumentReference" in node:
            name = node["argumentReference"]
            if name not in frame.values:
                raise ComputeError(f"Invalid expression: the argument {str(name)[:40]!r} is not defined here.")
            return frame.values[name]
        if "arrayValue" in node:
            return [self._node(child, frame) for child in node["arrayValue"].get("values", ())]
        if "dictionaryValue" in node:
            return {key: self._node(child, frame) for key, child in node["dictionaryValue"].get("values", {}).items()}
        if "functionInvocationValue" in node:
            return self._invoke(node["functionInvocationValue"], frame)
        if "functionDefinitionValue" in node:
            return self._define(node["functionDefinitionValue"], frame)
        try:
            if "integerValue" in node:
                return int(node["integerValue"])
            if "bytesValue" in node:
                return base64.b64decode(node["bytesValue"])
        except (TypeError, ValueError) as error:
            raise ComputeError("Invalid expression: a value node does not have the form of its kind.") from error
        if not node:
            return None
        raise ComputeError(f"Invalid expression: the value node {', '.join(sorted(node))[:80]!r} is of no known kind.")

    def _define(self, definition: dict[str, Any], frame: _Frame) -> Function:
        names = tuple(definition.get("argumentNames", ()))
        body = {"valueReference": definition.get("body")}

        def call(*arguments: Any) -> Any:
            return self._node(body, _Frame({**frame.values, **dict(zip(names, arguments, strict=False))}))

        return Function(call, names)

    def _invoke(self, invocation: dict[str, Any], frame: _Frame) -> Any:
        arguments = {name: self._node(child, frame) for name, child in invocation.get("arguments", {}).items()}
        if "functionReference" in invocation:
            function = self._node({"valueReference": invocation["functionReference"]}, frame)
            if not isinstance(function, Function):
                raise ComputeError("Invalid expression: what is called is no function.")
            missing = [name for name in function.names if name not in arguments]
            if missing:
                raise ComputeError(f"Invalid expression: the argument {missing[0]!r} is missing.")
            return function.call(*(arguments[name] for name in function.names))
        return self._call(str(invocation.get("functionName")), arguments)
