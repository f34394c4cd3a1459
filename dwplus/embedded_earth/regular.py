"""Regular expressions of requests, in RE2's syntax: they take linear time, so that none can stop the process."""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

from dwplus.embedded_earth.errors import ComputeError

#: Characters of a regular expression.
MAX_PATTERN = 10_000


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    return re2.compile(pattern, options)


def expression(pattern: str, flags: str = "", where: str = "String") -> Any:
    """A compiled regular expression.

    Raises
    ------
    ComputeError
        For one that RE2 does not understand: it knows no look-around and no references back.
    """
    if len(pattern) > MAX_PATTERN:
        raise ComputeError(f"{where}: regular expressions of more than {MAX_PATTERN} characters are not supported.")
    try:
        return _compiled(pattern, "i" in flags)
    except re2.error as error:
        told = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ComputeError(f"{where}: bad regular expression '{pattern[:40]}': {told}.") from error


def replaced(text: str, pattern: Any, replacement: str, every: bool, most: int) -> str:
    """The first match or every match replaced; ``$1`` in the replacement is the first group.

    Raises
    ------
    ComputeError
        For a group that there is not, and a text of more than ``most`` characters.
    """
    out, start, size = [], 0, len(text)
    for hit in pattern.finditer(text):
        groups = [hit.group(0), *hit.groups()]

        def chosen(reference: re.Match[str], groups: list[str | None] = groups) -> str:
            number = int(reference[1])
            if number >= len(groups):
                raise ComputeError(f"String.replace: No group {number}.")
            return groups[number] or ""

        new = re.sub(r"\$(\d)", chosen, replacement)
        out += [text[start:hit.start()], new]
        start, size = hit.end(), size + len(new)
        if size > most:
            raise ComputeError("User memory limit exceeded.")
        if not every:
            break
    return "".join([*out, text[start:]])
