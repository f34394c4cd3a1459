"""Texts, with regular expressions in RE2's syntax: they take linear time, so that none can stop the process."""

from __future__ import annotations

import json
from typing import Any

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.encode import encode
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.registry import function, plain_function, type_name
from dwplus.embedded_earth.functions.scalars import MAX_TEXT, whole
from dwplus.embedded_earth.regular import expression, replaced


@function("String")
def string(context: Context, value: Any) -> str:
    if isinstance(value, list | dict):
        return encode_json(context, value)
    if isinstance(value, str | int | float):
        return value if isinstance(value, str) else str(whole(value))
    raise ComputeError(f"String: a text of a {type_name(value)} is not supported by the embedded Earth.")


def _sized(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ComputeError("User memory limit exceeded.")
    return text


@function("String.cat")
def cat(context: Context, one: str, other: str) -> str:
    return _sized(one + other)


@function("String.split")
def split(context: Context, text: str, pattern: str, flags: str) -> list[str]:
    """Parts between matches; as in Java, empty parts at the end and an empty match at the start leave nothing."""
    if not pattern:
        return list(text)
    parts, start = [], 0
    for match in expression(pattern, flags).finditer(text):
        if match.end() == 0:
            continue
        parts.append(text[start:match.start()])
        start = match.end()
    parts.append(text[start:])
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts


@function("String.match")
def match(context: Context, text: str, pattern: str, flags: str) -> list[str | None]:
    """The first match and its groups, or with ``g`` all matches."""
    found = expression(pattern, flags)
    if "g" in flags:
        return [hit.group(0) for hit in found.finditer(text)]
    hit = found.search(text)
    return [] if hit is None else [hit.group(0), *hit.groups()]


@function("String.replace")
def replace(context: Context, text: str, pattern: str, replacement: str, flags: str) -> str:
    """The first match, or with ``g`` all; ``$1`` in the replacement is the first group."""
    return replaced(text, expression(pattern, flags), replacement, "g" in flags, MAX_TEXT)


@function("String.slice")
def slice_(context: Context, text: str, start: int, end: int | None) -> str:
    return text[start:end]


@function("String.equals")
def equals(context: Context, one: Any, other: Any) -> bool:
    return bool(one == other)


@function("String.compareTo")
def compare(context: Context, one: str, other: str) -> int:
    return (one > other) - (one < other)


plain_function("String.length", len)
plain_function("String.toLowerCase", str.lower)
plain_function("String.toUpperCase", str.upper)
plain_function("String.trim", str.strip)
plain_function("String.index", str.find)
plain_function("String.rindex", str.rfind)


@function("String.encodeJSON")
def encode_json(context: Context, value: Any) -> str:
    return _sized(json.dumps(encode(value, context), separators=(",", ":"), ensure_ascii=False))


@function("String.decodeJSON")
def decode_json(context: Context, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ComputeError("String.decodeJSON: the text is no JSON.") from None


@function("Profile.getProfiles")
def get_profiles(context: Context, ids: list[str], form: str, most: int | None) -> str:
    if form not in ("text", "json"):
        raise ComputeError("Profile.getProfiles: 'format' must be 'text' or 'json'.")
    return (context.profiles.text if form == "text" else context.profiles.rows_json)(ids, most)


@function("Describe")
def describe(context: Context, value: Any) -> Any:
    """What ``getInfo`` would print."""
    return encode(value, context)
