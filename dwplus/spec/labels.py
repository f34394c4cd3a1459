"""Where labels come from: Dynamic World, annotated tiles, or any map of classes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dwplus.spec.base import Model
from dwplus.taxonomy.tables import KNOWN_ASSETS, TABLES, ClassTable, table_of_codes


def _codes(value: Any) -> Any:
    """A mapping of codes as pairs, in order of the codes."""
    if isinstance(value, dict):
        return tuple(sorted(value.items(), key=lambda item: str(item[0]).rjust(20)))
    return value


class Labels(Model):
    """Where labels come from."""

    source: Literal["dynamic-world-v1", "annotations", "asset"] = Field(
        "dynamic-world-v1", description="dynamic-world-v1: the model's own image of a Sentinel-2 scene; annotations: "
                                        "tiles annotated by people, on fixed dates, from labels.path or labels.asset; "
                                        "asset: any map of classes on Earth Engine, labels.asset")
    path: str | None = Field(None, description="annotations: folder of GeoTIFFs as published (PANGAEA 933475: codes "
                                               "0..10, names dw_<lon>_<lat>-<yyyymmdd>.tif), with the metadata sheet "
                                               "when there; relative to the spec file")
    asset: str | None = Field(None, description="annotations: Earth Engine image collection of the same tiles, e.g. "
                                                "projects/wri-datalab/dynamic_world/v1/DW_LABELS; asset: an image, or "
                                                "a collection of which a tile takes what lies over it, e.g. "
                                                "ESA/WorldCover/v200")
    band: str | None = Field(None, description="asset: its band of whole-number codes; WorldCover's is known")
    codes: Annotated[str | tuple[tuple[int, str], ...] | None, BeforeValidator(_codes)] = Field(
        None, description="asset: what its codes mean: a class table by name (such as esa-worldcover), or {code: "
                          "class, ...} of the spec's own, where several codes may be one class; other codes become "
                          "255")
    date: Literal["any", "year", "nearest"] = Field(
        "any", description="asset: which images of a collection may label a Sentinel-2 scene: any = all, the newest "
                           "on top; year = those of the scene's calendar year; nearest = the ones nearest in time")
    per_window: Literal["best", "all", "mode"] = Field(
        "best", description="label scenes per tile and window: best = the clearest that pairs (see quality.clouds), "
                            "all = each one, mode = the most frequent class of all, with the best one's S2 and S1")
    min_confidence: float = Field(0, ge=0, lt=1, description="labels whose highest class probability is lower become "
                                                             "255; Dynamic World's never exceeds about 0.80")

    @model_validator(mode="after")
    def _one_source(self) -> Labels:
        given = [key for key in ("path", "asset") if getattr(self, key)]
        if self.source == "annotations":
            if len(given) != 1:
                raise ValueError("annotations need a path (a folder of GeoTIFFs) or an asset (an Earth Engine "
                                 f"collection), {'not both' if given else 'found neither'}")
        elif self.source == "asset":
            if given != ["asset"]:
                raise ValueError("source asset needs asset, the id of an Earth Engine image or collection"
                                 + (", and no path" if self.path else ""))
        elif given:
            raise ValueError(f"{given[0]} belongs to source annotations or asset, found source {self.source!r}")
        if self.source != "dynamic-world-v1":
            if self.per_window == "mode":
                raise ValueError("per_window mode is Dynamic World V1's; " + (
                    "annotations have one date each" if self.source == "annotations" else "a map has one label"))
            if self.min_confidence:
                raise ValueError(f"min_confidence is Dynamic World V1's; {self.source} carry no probabilities"
                                 if self.source == "annotations" else
                                 "min_confidence is Dynamic World V1's; a map of classes carries no probabilities")
        return self

    @model_validator(mode="after")
    def _of_asset(self) -> Labels:
        if self.source != "asset":
            if more := [key for key in ("band", "codes") if getattr(self, key)] + ["date"] * (self.date != "any"):
                raise ValueError(f"{more[0]} belongs to source asset, found source {self.source!r}")
            return self
        if self.asset not in KNOWN_ASSETS and (self.band is None or self.codes is None):
            lacks = "band" if self.band is None else "codes"
            raise ValueError(f"{lacks} of asset {self.asset} is not known: give band, its name, and codes, a class "
                             f"table ({', '.join(TABLES)}) or {{code: class, ...}}")
        if isinstance(self.codes, str) and self.codes not in TABLES:
            raise ValueError(f"codes {self.codes!r} must be one of {', '.join(TABLES)}, or {{code: class, ...}}")
        if isinstance(self.codes, tuple):
            numbers = [code for code, _ in self.codes]
            if not numbers or min(numbers) < 0 or max(numbers) > 65_535 or len(set(numbers)) < len(numbers):
                raise ValueError("codes must be different whole numbers 0 to 65535, each with the name of its class")
            if len({name for _, name in self.codes}) > 254:
                raise ValueError("codes must name at most 254 classes, for labels are bytes and 255 is none")
            if wrong := [name for _, name in self.codes if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name)]:
                raise ValueError(f"codes: class {wrong[0]!r} must be one word of letters, digits, _ and -")
        return self

    @property
    def band_name(self) -> str:
        """Band of the asset's codes."""
        return self.band or KNOWN_ASSETS[self.asset or ""][0]

    @property
    def table(self) -> ClassTable:
        """The classes of the labels."""
        if self.source != "asset":
            return TABLES["dynamic-world"]
        codes = self.codes or KNOWN_ASSETS[self.asset or ""][1]
        return TABLES[codes] if isinstance(codes, str) else table_of_codes(codes)

    @property
    def labels_by_code(self) -> dict[int, int]:
        """Label of each code of the asset."""
        table = self.table
        if isinstance(self.codes, tuple):
            return {code: table.classes.index(name) for code, name in self.codes}
        return {code: label for label, code in enumerate(table.codes)}
