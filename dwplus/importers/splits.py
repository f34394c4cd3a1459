"""Which pairs train, validate and test: by published lists, by a file of the user's, by ground, or by a seeded draw."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dwplus.errors import InputError
from dwplus.importers.base import Pair
from dwplus.store.layout import SPLITS

#: Shares of train, validation and test of splits that are made here.
SHARES = (0.7, 0.15, 0.15)
CHOICES = ("official", "spatial", "random")


def read_list(path: Path) -> list[str]:
    """Names of a list, a line each, without suffix and folder.

    Raises
    ------
    InputError
        Where it cannot be read, or names one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    names = [Path(line.strip().replace("\\", "/")).name for line in lines if line.strip()]
    names = [name.rsplit(".", 1)[0] if name.lower().endswith((".tif", ".tiff", ".png")) else name for name in names]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"list {path}: names {twice} twice")
    return names


def by_lists(pairs: Sequence[Pair], lists: dict[str, list[str]], where: str) -> list[Pair]:
    """Pairs in the splits of lists of their names.

    Raises
    ------
    InputError
        Where a name is in two lists, has no pair, or a pair is in none.
    """
    split: dict[str, str] = {}
    for word, names in lists.items():
        for name in names:
            if name in split:
                raise InputError(f"{where}: {name} is in {split[name]} and {word}; it must be in one")
            split[name] = word
    known = {pair.name for pair in pairs}
    if missing := sorted(split.keys() - known):
        raise InputError(f"{where}: name {missing[0]}, of which there are no files"
                         + (f" ({len(missing)} such names)" if len(missing) > 1 else ""))
    if extra := sorted(known - split.keys()):
        raise InputError(f"{where}: do not name {extra[0]}, of which there are files"
                         + (f" ({len(extra)} such names)" if len(extra) > 1 else ""))
    return [replace(pair, split=split[pair.name], published=split[pair.name]) for pair in pairs]


def by_file(pairs: Sequence[Pair], path: Path) -> list[Pair]:
    """Pairs in the splits of a user's CSV with columns ``name`` and ``split``.

    Raises
    ------
    InputError
        As :func:`by_lists`, and where it is no such file.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--splits {path}: must be official, spatial, random, or a CSV file with columns name and "
                         f"split ({getattr(error, 'strerror', None) or error})") from None
    if not rows or not {"name", "split"} <= set(rows[0]) or any(row["name"] is None for row in rows):
        raise InputError(f"--splits {path}: must have columns name and split")
    lists: dict[str, list[str]] = {word: [] for word in SPLITS}
    for row in rows:
        if row["split"] not in lists:
            raise InputError(f"--splits {path}: {row['name']} has split {row['split']!r}, must be "
                             f"{', '.join(SPLITS)}")
        lists[row["split"]].append(str(row["name"]))
    return [replace(pair, published="") for pair in by_lists(pairs, lists, f"--splits {path}")]


def dealt(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> list[Pair]:
    """Pairs dealt out by groups: those of one key stay together, in an order that the keys' hashes give.

    Each split gets about its share of the pairs (:data:`SHARES`), and at least one group where there are three.
    """
    groups: dict[str, int] = {}
    for pair in pairs:
        groups[key(pair)] = groups.get(key(pair), 0) + 1
    order = sorted(groups, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
    split: dict[str, str] = {}
    taken = dict.fromkeys(SPLITS, 0)
    wanted = {word: share * len(pairs) for word, share in zip(SPLITS, SHARES, strict=True)}
    # The first three groups go to one split each; the others to the one that lacks most of its share.
    for number, name in enumerate(order):
        word = SPLITS[number] if number < len(SPLITS) else max(SPLITS, key=lambda w: (wanted[w] - taken[w]) / wanted[w])
        split[name] = word
        taken[word] += groups[name]
    return [replace(pair, split=split[key(pair)]) for pair in pairs]


def at_random(pairs: Sequence[Pair]) -> list[Pair]:
    """Scenes dealt out by the hash of their names."""
    return dealt(pairs, lambda pair: pair.scene or pair.name)


def no_place(word: str, name: str) -> InputError:
    """The sentence for a split by ground of a set without places."""
    return InputError(f"--splits {word}: files of {name} say no place, so that no ground can be held out; take "
                      "official, random, or a CSV file")
