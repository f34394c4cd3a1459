"""What a set's files hold, looked at before anything is written: sizes, types, codes, ranges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from os import cpu_count

import numpy as np

from dwplus.errors import InputError
from dwplus.importers.base import DataSet, Found, Header, Options, Pair
from dwplus.store import units
from dwplus.taxonomy import IGNORE
from dwplus.taxonomy.tables import ClassTable, spare_colour

#: Pairs whose pixels are looked at for their range, spread over the set.
LOOKED_AT = 16
#: What the option ``--codes`` calls a code that is no class.
IGNORED = "ignore"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Probed:
    """What was found: each pair's header, codes of the labels with their pixels, how codes become labels, the classes,
    factor of the optics, unit of the radar, and what a user should know."""

    headers: list[Header]
    codes: dict[int, int]
    lookup: np.ndarray
    table: ClassTable
    scale: float
    radar_unit: str
    notes: list[str]

    @property
    def ignored(self) -> float:
        """Share of label pixels that are ignored."""
        total = sum(self.codes.values())
        return sum(n for code, n in self.codes.items() if self.lookup[code] == IGNORE) / max(1, total)


def probe(data: DataSet, found: Found, options: Options, progress: Progress = lambda *_: None) -> Probed:
    """Look at every pair's header and label, and at the pixels of some.

    Raises
    ------
    InputError
        With the first pair that does not fit, code that is not known, or range that no reading fits.
    """
    if not found.pairs:
        raise InputError(f"{data.name}: the folder holds no pair of files")
    headers, codes, first = _labels(found, progress)
    _one_type(data, found.pairs, headers)
    notes = list(found.notes)
    lookup, table = _classes(data, codes, first, options, notes)
    optical, radar = _ranges(found)
    scale = units.optical_scale(optical, data.optical_unit, options.scale)
    unit = units.radar_unit(radar, data.radar_unit, options.s1_unit)
    if radar.odd:
        notes.append(f"{radar.odd:.1%} of the radar values looked at are NaN or infinite; these pixels get no data")
    if data.radar_unit is None and options.s1_unit is None:
        notes.append(f"unit of the radar is not established; its values, {radar.least:g} to {radar.largest:g}, are "
                     f"taken for {unit}")
    return Probed(headers, codes, lookup, table, scale, unit, notes)


def _labels(found: Found, progress: Progress) -> tuple[list[Header], dict[int, int], dict[int, str]]:
    """Headers of all pairs, codes met with their pixels, and a file in which each was met."""
    codes: Counter[int] = Counter()
    first: dict[int, str] = {}
    headers = []

    def look(pair: Pair) -> tuple[Header, np.ndarray, np.ndarray]:
        header = found.reader.header(pair)
        label = found.reader.label(pair)
        if label.dtype == np.uint8:
            counts = np.bincount(label.ravel(), minlength=256)
            there = np.flatnonzero(counts)
            return header, there, counts[there]
        return header, *np.unique(label, return_counts=True)

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for done, (pair, (header, values, counts)) in enumerate(
                zip(found.pairs, pool.map(look, found.pairs), strict=True), 1):
            headers.append(header)
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                codes[value] += count
                first.setdefault(value, str(pair.label.paths[0]))
            progress(done, len(found.pairs))
    return headers, dict(sorted(codes.items())), first


def _one_type(data: DataSet, pairs: Sequence[Pair], headers: Sequence[Header]) -> None:
    for (one, header), (two, other) in pairwise(zip(pairs, headers, strict=True)):
        for what, a, b, files in zip(("optics", "radar"), header.dtypes, other.dtypes, (two.optical, two.radar),
                                     strict=False):
            if a != b:
                raise InputError(f"{files.paths[0]}: its {what} are {b}, those of {one.name} are {a}; all files of a "
                                 f"set "
                                 "must be of one type")


def _classes(data: DataSet, codes: Mapping[int, int], first: Mapping[int, str], options: Options,
             notes: list[str]) -> tuple[np.ndarray, ClassTable]:
    """How codes become labels, and the classes they are of."""
    met = " ".join(map(str, codes))
    if outside := [code for code in codes if not 0 <= code <= 255]:
        raise InputError(f"{first[outside[0]]}: holds code {outside[0]}, codes must be 0 to 255; met are {met}")
    table = data.table
    if options.codes is not None:
        table = renamed(data, dict(options.codes))
    elif data.codes_by is not None:
        table = renamed(data, data.codes_by(list(codes)))
        notes.append("codes of the labels are not established; those met, " + met + ", are taken for "
                     + ", ".join(f"{code} {name}" for code, name in zip(table.codes, table.classes, strict=True)))
    lookup = table.lookup()
    unknown = [code for code in codes if lookup[code] < 0]
    if unknown:
        known = ", ".join(f"{code} {name}" for code, name in zip(table.codes, table.classes, strict=True))
        ignored = f", {' '.join(map(str, table.ignored))} ignored" if table.ignored else ""
        raise InputError(f"{first[unknown[0]]}: holds code {unknown[0]}, which is no class ({known}{ignored}); codes "
                         f"met are {met}; say what they are by --codes")
    if not any(lookup[code] != IGNORE for code in codes):
        raise InputError(f"{next(iter(first.values()))}: no label file holds a class, codes met are {met}; check that "
                         "these are the labels")
    return lookup, table


def renamed(data: DataSet, codes: Mapping[int, str]) -> ClassTable:
    """A set's table with other codes: code -> class, or ``ignore``; several codes may be one class.

    Classes stand in the order of the set's own table where they are its classes, else in that of their codes.

    Raises
    ------
    InputError
        Where no code is a class.
    """
    own = {name: colour for name, colour in zip(data.table.classes, data.table.colours, strict=True)}
    names = list(dict.fromkeys(name for name in codes.values() if name != IGNORED))
    if not names:
        raise InputError("--codes: names no class; give at least one, such as 1=water")
    if set(names) <= set(own):
        names = [name for name in own if name in names]
    one = {name: min(code for code, n in codes.items() if n == name) for name in names}
    colours = tuple(own.get(name, spare_colour(i)) for i, name in enumerate(names))
    kept = set(names) <= set(own)
    ignored = tuple(code for code, name in codes.items() if name == IGNORED)
    merged = {code: names.index(name) for code, name in codes.items() if name != IGNORED and one[name] != code}
    made = ClassTable(data.table.name if kept else "custom", tuple(names), tuple(one[n] for n in names), colours,
                      ignored, data.table.source)
    return _Merged(made, merged) if merged else made


class _Merged(ClassTable):
    """A table some of whose classes have further codes."""

    def __init__(self, table: ClassTable, more: Mapping[int, int]) -> None:
        super().__init__(table.name, table.classes, table.codes, table.colours, table.ignored, table.source)
        object.__setattr__(self, "more", dict(more))

    def lookup(self) -> np.ndarray:
        """As for every table."""
        found = super().lookup()
        for code, label in vars(self)["more"].items():
            found[code] = label
        return found


def _ranges(found: Found) -> tuple[units.Range, units.Range]:
    """Ranges of the optics and the radar of some pairs."""
    numbers = np.unique(np.linspace(0, len(found.pairs) - 1, LOOKED_AT).astype(int))

    def look(number: int) -> tuple[units.Range, units.Range]:
        pair = found.pairs[number]
        raw = found.reader.read(pair)
        return (units.range_of(raw.optical, str(pair.optical.paths[0])),
                units.range_of(raw.radar, str(pair.radar.paths[0])))

    # Few at a time: scenes are large.
    with ThreadPoolExecutor(2) as pool:
        looked = list(pool.map(look, numbers.tolist()))
    radar = [one for _, one in looked if one.odd < 1]
    if not radar:
        raise InputError(f"radar {looked[0][1].where}: holds no finite value, as none that was looked at; download the "
                         "set again")
    optical = [one for one, _ in looked if one.zeros < 1] or [looked[0][0]]
    return units.joined(optical), units.joined(radar)
