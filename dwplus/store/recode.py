"""Labels of stores in other classes: the stores' own where they agree, else merged by a class table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dwplus.errors import InputError
from dwplus.runtime.yaml_text import read_yaml
from dwplus.store.legend import Legend, legend_from
from dwplus.taxonomy import IGNORE
from dwplus.taxonomy.tables import TABLES, ClassTable, table_from, table_of, translation


@dataclass(frozen=True)
class Recoding:
    """How labels of a store become those of a run.

    Attributes
    ----------
    classes : number of classes of the store. becomes : label of the run by label of the store, 255 = ignore; None = as
        they are. names : classes of the store.
    """

    classes: int
    names: tuple[str, ...]
    becomes: tuple[int, ...] | None = None

    def __call__(self, label: np.ndarray) -> np.ndarray:
        """Labels, uint8 of any shape; the same array where nothing changes."""
        if self.becomes is None:
            return label
        table = np.full(256, IGNORE, "uint8")
        table[:self.classes] = self.becomes
        out: np.ndarray = table[label]
        return out

    def table(self, tiles: pd.DataFrame, legend: Legend) -> pd.DataFrame:
        """A table of tiles with pixels counted by the run's classes."""
        if self.becomes is None:
            return tiles
        old = [f"count_{name}" for name in self.names]
        counts = tiles[old].to_numpy()
        new = {column: counts[:, [i for i, to in enumerate(self.becomes) if to == place]].sum(axis=1)
               for place, column in enumerate(legend.counts)}
        return tiles.drop(columns=old).assign(**new)


def read_table(text: str) -> tuple[ClassTable, dict[str, str] | None]:
    """A class table by name, or from a YAML file, which also says which old class becomes which new one.

    Raises
    ------
    InputError
        Where it is neither.
    """
    if text in TABLES or not text.endswith((".yaml", ".yml")):
        return table_of(text), None
    return table_from(read_yaml(Path(text), "a class table is a YAML file with classes"), text)


def recoding(legend: Legend, table: ClassTable, becomes: dict[str, str] | None, where: str) -> Recoding:
    """How a store's labels become a table's.

    Raises
    ------
    InputError
        Where what a class shows is not known, a file names a class that is not there, or nothing would be left.
    """
    if becomes is None:
        try:
            found: dict[str, str | None] = translation(legend.classes, legend.table, table)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    else:
        if unknown := sorted(set(becomes) - set(legend.classes)):
            raise InputError(f"{where}: has no class {unknown[0]}, which {table.source} names; its classes are "
                             f"{', '.join(legend.classes)}")
        found = {name: becomes.get(name) for name in legend.classes}
    places = tuple(IGNORE if (to := found[name]) is None else table.classes.index(to) for name in legend.classes)
    if all(place == IGNORE for place in places):
        raise InputError(f"{where}: none of its classes ({', '.join(legend.classes)}) has a place in {table.name}")
    same = places == tuple(range(len(table.classes)))
    return Recoding(len(legend), legend.classes, None if same else places)


def recodings(legends: Sequence[Legend], stores: Sequence[str], to: str | None) -> tuple[Legend, list[Recoding]]:
    """The classes of a run on stores, and how each store's labels become them.

    Parameters
    ----------
    to : a class table, by name or as a file; None = the stores' own.

    Raises
    ------
    InputError
        Where stores have different classes and no table is given.
    """
    if to is not None:
        table, becomes = read_table(to)
        return legend_from(table), [recoding(legend, table, becomes, f"store {store}")
                                    for legend, store in zip(legends, stores, strict=True)]
    first = legends[0]
    for legend, store in zip(legends[1:], stores[1:], strict=True):
        if legend.classes != first.classes:
            raise InputError(f"store {store}: has classes {' '.join(legend.classes)}, {stores[0]} has "
                             f"{' '.join(first.classes)}; merge them by a table, such as data.classes=dynamic-world")
    return first, [Recoding(len(legend), legend.classes) for legend in legends]
