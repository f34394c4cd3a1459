"""The expression language of ``Image.expression``: text to a tree. What the tree means is the evaluators' business.

Loosest first: ``=`` (a name for the result), ``?:``, ``||``, ``&&``, ``|``, ``^``, ``&``, ``== !=``,
``< <= > >=``, ``<< >>``, ``+ -``, ``* / %``, sign and ``! ~``, ``**``, then calls, ``[]`` and ``.name``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dwplus.embedded_earth.errors import ComputeError

#: Characters of a formula, and how deep its parts may nest.
MAX_LENGTH = 100_000
MAX_DEPTH = 100

_TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<number>0[xX][0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<text>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>\*\*|&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%<>!~^&|?:=.,()\[\]])
""", re.VERBOSE)
#: In filters, names hold colons, as ``system:index`` does.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?::[A-Za-z0-9_]+)*")

_BINARY = {operator: level for level, operators in enumerate((
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
    ("*", "/", "%"))) for operator in operators}
_UNARY = ("-", "+", "!", "~")


@dataclass(frozen=True)
class Node:
    """A part of a formula.

    Attributes
    ----------
    kind : ``number``, ``text``, ``name``, ``member`` (``of.value``), ``index`` (``of[parts]``), ``call``
        (``value(parts)``), ``unary`` and ``binary`` (operator ``value``), ``choice`` (condition, yes, no), ``assign``.
    value : what the kind says of it: a number, a text, a name, an operator.
    parts : the nodes it is made of.
    depth : of the tree below it, itself included.
    """

    kind: str
    value: float | str
    parts: tuple[Node, ...] = ()
    depth: int = 1


def parse(text: str, where: str, fields: bool = False) -> Node:
    """The tree of a formula; ``fields`` allows colons in names.

    Raises
    ------
    ComputeError
        Where it is none; the message shows the place.
    """
    if len(text) > MAX_LENGTH:
        raise ComputeError(f"{where}: the expression is longer than {MAX_LENGTH} characters.")
    return _Parser(text, where, fields).formula()


class _Parser:
    def __init__(self, text: str, where: str, fields: bool) -> None:
        self._text, self._where = text, where
        self._tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self._error(f"unexpected character {text[position]!r}", position)
            if match.lastgroup == "name" and fields:
                longer = _FIELD.match(text, position)
                assert longer is not None
                self._tokens.append(("name", longer[0], position))
                position = longer.end()
                continue
            if match.lastgroup != "space":
                self._tokens.append((match.lastgroup, match[0], position))
            position = match.end()
        self._at = 0
        self._nested = 0

    def _error(self, what: str, position: int) -> ComputeError:
        shown = self._text[max(0, position - 20):position + 20]
        return ComputeError(f"{self._where}: Unable to parse the expression: {what} at position {position + 1}, near "
                            f"'{shown}'.")

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) and \
            self._tokens[self._at][0] == "sign" else ""

    def _unexpected(self) -> ComputeError:
        if self._at >= len(self._tokens):
            return self._error("unexpected end", len(self._text))
        _, token, position = self._tokens[self._at]
        return self._error(f"unexpected '{token[:20]}'", position)

    def _take(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._unexpected()
        self._at += 1

    def _node(self, kind: str, value: float | str, *parts: Node) -> Node:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise ComputeError(f"{self._where}: the expression is nested more than {MAX_DEPTH} deep.")
        return Node(kind, value, parts, depth)

    def formula(self) -> Node:
        name = None
        if (len(self._tokens) > 1 and self._tokens[0][0] == "name" and self._tokens[1][:2] == ("sign", "=")):
            name, self._at = self._tokens[0][1], 2
        found = self._choice()
        if self._at < len(self._tokens):
            raise self._unexpected()
        return found if name is None else self._node("assign", name, found)

    def _choice(self) -> Node:
        self._nested += 1
        if self._nested > MAX_DEPTH:
            raise ComputeError(f"{self._where}: the expression is nested more than {MAX_DEPTH} deep.")
        found = self._binary(0)
        if self._peek() == "?":
            self._at += 1
            yes = self._choice()
            self._take(":")
            found = self._node("choice", "?:", found, yes, self._choice())
        self._nested -= 1
        return found

    def _binary(self, level: int) -> Node:
        """Operators of at least a level, by climbing: as deep as the formula nests, not as it has levels."""
        left = self._unary()
        while (found := _BINARY.get(self._peek(), -1)) >= level:
            operator = self._peek()
            self._at += 1
            left = self._node("binary", operator, left, self._binary(found + 1))
        return left

    def _unary(self) -> Node:
        operators = []
        while self._peek() in _UNARY and self._peek():
            operators.append(self._peek())
            self._at += 1
        found = self._power()
        for operator in reversed(operators):
            found = self._node("unary", operator, found)
        return found

    def _power(self) -> Node:
        """Exponents group from the right, and bind tighter than a sign before them: -2**2 is -4."""
        base = self._postfix()
        if self._peek() != "**":
            return base
        self._at += 1
        self._nested += 1
        if self._nested > MAX_DEPTH:
            raise ComputeError(f"{self._where}: the expression is nested more than {MAX_DEPTH} deep.")
        exponent = self._unary()
        self._nested -= 1
        return self._node("binary", "**", base, exponent)

    def _postfix(self) -> Node:
        found = self._primary()
        while sign := self._peek():
            if sign == ".":
                self._at += 1
                if self._at >= len(self._tokens) or self._tokens[self._at][0] != "name":
                    raise self._unexpected()
                found = self._node("member", self._tokens[self._at][1], found)
                self._at += 1
            elif sign == "[":
                self._at += 1
                found = self._node("index", "[]", found, *self._list("]"))
            elif sign == "(" and found.kind in ("name", "member"):
                self._at += 1
                name = str(found.value)
                if found.kind == "member" and found.parts[0] != Node("name", "Math"):
                    raise self._error(f"'{name}' is no function", self._tokens[self._at - 1][2])
                found = self._node("call", name, *self._list(")"))
            else:
                break
        return found

    def _list(self, end: str) -> list[Node]:
        found: list[Node] = []
        while self._peek() != end:
            if found:
                self._take(",")
            found.append(self._choice())
        self._at += 1
        return found

    def _whole(self, token: str, base: int) -> float:
        """A whole number; beyond 64 bits it is a floating one."""
        if len(token) > 40:
            return float("inf") if base == 16 else float(token)
        value = int(token, base)
        return value if value < 2**63 else float(value)

    def _primary(self) -> Node:
        if self._at >= len(self._tokens):
            raise self._unexpected()
        kind, token, _ = self._tokens[self._at]
        if kind == "sign":
            if token != "(":
                raise self._unexpected()
            self._at += 1
            found = self._choice()
            self._take(")")
            return found
        self._at += 1
        if kind == "number":
            if token[:2] in ("0x", "0X"):
                return self._node("number", self._whole(token, 16))
            return self._node("number", self._whole(token, 10) if token.isdigit() else float(token))
        if kind == "text":
            return self._node("text", re.sub(r"\\(.)", r"\1", token[1:-1]))
        return self._node("name", token)
