"""A user's own folder, told by a YAML file: where the files lie, bands, units, codes, splits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dwplus.errors import InputError
from dwplus.importers import splits
from dwplus.importers.base import NOT_ESTABLISHED, DataSet, Files, Found, Options, Pair
from dwplus.importers.probe import IGNORED
from dwplus.importers.rasters import RasterReader
from dwplus.runtime.yaml_text import read_yaml
from dwplus.taxonomy.tables import ClassTable, spare_colour, table_of

#: Name of the file that tells a folder, where no other is given.
FILE = "import.yaml"
_MARK = "{name}"
#: Names of bands and classes, which become names of columns and files.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def _bands(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_pattern(pattern: str) -> None:
    if pattern.count(_MARK) != 1 or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"pattern {pattern!r} must be a path below the folder with {_MARK} in it once")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sensor(_Part):
    """Files of one sensor."""

    pattern: str | dict[str, str] = Field(description="path below the folder with {name} in it, such as s2/{name}.tif; "
                                                      "or one per band")
    bands: Annotated[tuple[str, ...], BeforeValidator(_bands)] = Field(
        (), description="names in the order of the file; not needed where patterns name them")
    unit: Literal["reflectance", "dB", "linear", "display"] = Field(description="what values are: reflectance, dB, "
                                                                               "linear power, or display (grey)")
    scale: float | None = Field(None, gt=0, description="optics: factor to DN (reflectance x 10000), or to grey values "
                                                        "of 0 to 255; none = values are so")

    @model_validator(mode="after")
    def _named(self) -> Sensor:
        patterns = list(self.pattern.values()) if isinstance(self.pattern, dict) else [self.pattern]
        for pattern in patterns:
            _check_pattern(pattern)
        if isinstance(self.pattern, dict) and self.bands:
            raise ValueError("bands are named by the patterns already; leave them out")
        if not isinstance(self.pattern, dict) and not self.bands:
            raise ValueError("bands must be named")
        if wrong := [name for name in self.names if not _WORD.fullmatch(name)]:
            raise ValueError(f"band {wrong[0]!r} must be one word of letters, digits, _ and -")
        if len(set(self.names)) < len(self.names):
            raise ValueError("a band is named twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.pattern) if isinstance(self.pattern, dict) else self.bands

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(self.pattern.values()) if isinstance(self.pattern, dict) else (self.pattern,)


class Label(_Part):
    """Label files."""

    pattern: str
    codes: dict[int, str] | str = Field(description="code -> class, or ignore; or the name of a class table")
    colours: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Label:
        _check_pattern(self.pattern)
        if isinstance(self.codes, dict) and (wrong := [code for code in self.codes if not 0 <= code <= 255]):
            raise ValueError(f"code {wrong[0]} must be 0 to 255")
        if isinstance(self.codes, dict) and (odd := [n for n in self.codes.values() if not _WORD.fullmatch(n)]):
            raise ValueError(f"class {odd[0]!r} must be one word of letters, digits, _ and -")
        if odd := [c for c in self.colours.values() if not re.fullmatch("#[0-9A-Fa-f]{6}", c)]:
            raise ValueError(f"colour {odd[0]!r} must be #rrggbb")
        return self


class Layout(_Part):
    """What ``import.yaml`` holds."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the data set")
    optical: Sensor
    radar: Sensor
    label: Label
    splits: dict[Literal["train", "val", "test"], str] | str = Field(
        "random", description="lists of names per split, a CSV file with columns name and split, or random")
    scene: str | None = Field(None, description="regular expression whose first group, in a name, is the scene it is "
                                                "of")
    tile: int | None = Field(None, ge=16)
    pixel: float = Field(10.0, gt=0, description="side of a pixel, m")
    licence: str = NOT_ESTABLISHED

    @model_validator(mode="after")
    def _units(self) -> Layout:
        if self.optical.unit not in ("reflectance", "display"):
            raise ValueError("optical.unit must be reflectance or display")
        if self.radar.unit not in ("dB", "linear", "display"):
            raise ValueError("radar.unit must be dB, linear or display")
        if self.radar.scale is not None:
            raise ValueError("radar.scale: there is none; say unit dB, linear or display")
        if self.scene is not None:
            try:
                groups = re.compile(self.scene).groups
            except re.error as error:
                raise ValueError(f"scene {self.scene!r} is no regular expression ({error})") from None
            if not groups:
                raise ValueError(f"scene {self.scene!r} must have a group in brackets, which is the scene")
        if shared := sorted(set(self.optical.names) & set(self.radar.names)):
            raise ValueError(f"band {shared[0]} is named in optical and radar; name them apart")
        return self


def load(folder: Path, options: Options) -> tuple[Path, Layout]:
    """The layout of a folder: of the given file, else of its own ``import.yaml``.

    Raises
    ------
    InputError
        Where there is none, or it is wrong.
    """
    path = options.layout or folder / FILE
    if not path.is_file():
        raise InputError(f"folder {folder}: has no {FILE} that tells its layout; write one, or give --layout FILE")
    raw = read_yaml(path, "a layout is a YAML file")
    if not isinstance(raw, dict):
        raise InputError(f"{path}: must be a mapping with name, optical, radar and label, found {type(raw).__name__}")
    try:
        return path, Layout.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        words = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {where + ': ' if where else ''}{words[0].lower()}{words[1:]}") from None


def data_set(folder: Path, options: Options) -> DataSet:
    """The data set that a folder's layout tells."""
    path, layout = load(folder, options)

    def find(folder: Path, options: Options) -> Found:
        return _find(folder, layout, path, options)

    return DataSet(layout.name, layout.name, _table(layout, path), layout.optical.names, layout.radar.names,
                   layout.optical.unit, "dB" if layout.radar.unit == "linear" else layout.radar.unit, find,
                   tile=layout.tile, pixel=layout.pixel, licence=layout.licence,
                   source=f"a user's folder, told by {path.name}")


def _table(layout: Layout, path: Path) -> ClassTable:
    codes = layout.label.codes
    if isinstance(codes, str):
        return table_of(codes)
    names = list(dict.fromkeys(name for name in codes.values() if name != IGNORED))
    if len(names) < len([name for name in codes.values() if name != IGNORED]):
        raise InputError(f"{path}: label.codes: two codes are one class; give each code once here, and merge them by "
                         "--codes, or by dwplus relabel")
    if not names:
        raise InputError(f"{path}: label.codes: names no class")
    return ClassTable("custom", tuple(names), tuple(code for code, name in codes.items() if name != IGNORED),
                      tuple(layout.label.colours.get(name, spare_colour(i)) for i, name in enumerate(names)),
                      tuple(code for code, name in codes.items() if name == IGNORED), path.name)


def _find(folder: Path, layout: Layout, path: Path, options: Options) -> Found:
    patterns = {"label": layout.label.pattern, **{f"optical {i}": p for i, p in enumerate(layout.optical.patterns)},
                **{f"radar {i}": p for i, p in enumerate(layout.radar.patterns)}}
    found = {what: _matches(folder, pattern, path) for what, pattern in patterns.items()}
    every = sorted(set().union(*found.values()))
    for name in every:
        for what, there in found.items():
            if name not in there:
                raise InputError(f"pair {name}: has no file {patterns[what].replace(_MARK, name)} in {folder}; pairs "
                                 "must be complete")

    def files(what: str, sensor: Sensor, name: str) -> Files:
        paths = tuple(found[f"{what} {i}"][name] for i in range(len(sensor.patterns)))
        return Files(paths, (1 if len(paths) > 1 else len(sensor.names),))

    scene = re.compile(layout.scene) if layout.scene else None
    pairs = []
    for name in every:
        match = scene.search(name) if scene else None
        if scene and (match is None or not match[1]):
            raise InputError(f"{path}: scene {layout.scene!r} finds no scene in the name {name}; each name must have "
                             "one")
        pairs.append(Pair(name, files("optical", layout.optical, name), files("radar", layout.radar, name),
                          Files((found["label"][name],), (1,)), match[1] if match else name))
    if options.splits in (None, "official"):
        if isinstance(layout.splits, dict):
            lists = {word: splits.read_list(folder / file) for word, file in layout.splits.items()}
            named = {str(word): names for word, names in lists.items()}
            split, words = splits.by_lists(pairs, named, f"lists of {path}"), "lists of the layout"
        elif layout.splits == "random":
            split, words = splits.at_random(pairs), "scenes dealt out by the hash of their names"
        else:
            split, words = splits.by_file(pairs, folder / layout.splits), f"file {layout.splits}"
    elif options.splits == "random":
        split, words = splits.at_random(pairs), "scenes dealt out by the hash of their names"
    elif options.splits == "spatial":
        raise splits.no_place("spatial", layout.name)
    else:
        split, words = splits.by_file(pairs, Path(str(options.splits))), f"file {Path(str(options.splits)).name}"
    return Found(split, words, RasterReader(), [])


def _matches(folder: Path, pattern: str, where: Path) -> dict[str, Path]:
    """Files of a pattern, by what stands for ``{name}``."""
    before, after = pattern.split(_MARK)
    found = {}
    base = folder / Path(before).parent if "/" in before and not before.endswith("/") else folder / before
    for path in sorted(base.rglob("*") if base.is_dir() else ()):
        text = path.relative_to(folder).as_posix()
        name = text[len(before):len(text) - len(after)]
        if path.is_file() and text.startswith(before) and text.endswith(after) and name and "/" not in name:
            found[name] = path
    if not found:
        raise InputError(f"{where}: pattern {pattern} matches no file in {folder}")
    return found
