"""What a store of an imported data set is made of: the counterpart of :class:`dwplus.spec.DatasetSpec`, which is of an
export's. Both answer alike to who lays out, checks and copies stores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dwplus.errors import InputError
from dwplus.spec import DatasetSpec, StoreSpec
from dwplus.spec.extras import Extra
from dwplus.store.legend import Legend, legend_of

#: Group of tiles of which no biome is known, and the number that stands for it in the column ``biome``.
GROUP, NO_BIOME = "tiles", 0
#: The column ``window`` of tiles without dates, and the root attribute ``earth`` of imported stores.
NO_WINDOW, EARTH = "unknown", "imported"
#: What becomes of pixels beyond a scene's last row and column.
EDGES = ("pad", "shift", "drop")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bands(_Part):
    """Bands of one sensor, by name."""

    bands: tuple[str, ...] = Field(min_length=1, description="names, in the order of the store's axis")
    product: Literal["unknown"] = "unknown"


class Tile(_Part):
    """How scenes are cut."""

    size: int = Field(ge=16, le=8192, description="side, px")
    scale: float = Field(gt=0, description="side of a pixel, m; of tiles without place the nominal one")
    edge: Literal["pad", "shift", "drop"] = "pad"


class Source(_Part):
    """Where labels come from."""

    source: str


class Origin(_Part):
    """What was read, and how it was understood."""

    dataset: str
    files: int = Field(ge=0, description="pairs that were found")
    digest: str = Field(description="of names and sizes of the files")
    codes: dict[str, int] = Field(description="code in the files -> label; 255 = ignored")
    scale: float = Field(1.0, description="factor from file values of the optics to those of the store")
    s1_unit: str = Field(description="unit of the radar files: dB, linear or display")
    splits: str
    optical: dict[str, Any] = Field(default_factory=dict)


class ImportSpec(_Part):
    """Everything that decides the content of an imported store."""

    kind: Literal["import"] = "import"
    name: str
    classes: tuple[str, ...] = Field(min_length=1)
    class_codes: tuple[int, ...]
    colours: tuple[str, ...]
    class_table: str
    band_units: dict[str, str]
    tile: Tile
    sentinel2: Bands
    sentinel1: Bands
    labels: Source
    store: StoreSpec = StoreSpec()
    origin: Origin
    triplets: None = None
    extras: tuple[()] = ()
    windows: tuple[str, ...] = ()

    @property
    def s1_bands(self) -> tuple[str, ...]:
        return self.sentinel1.bands

    @property
    def extra_arrays(self) -> list[Extra]:
        """None: imported sets hold none."""
        return []

    @property
    def legend(self) -> Legend:
        return Legend(self.classes, self.class_codes, self.colours, self.class_table)

    def to_json(self) -> str:
        """Canonical text: equal specs give equal texts."""
        return json.dumps(self.model_dump(mode="json", exclude={"extras"}), sort_keys=True)


def is_imported(attributes: Mapping[str, Any]) -> bool:
    """Whether a root's attributes are of an imported store."""
    spec = attributes.get("spec")
    return isinstance(spec, Mapping) and spec.get("kind") == "import"


def spec_of(attributes: Mapping[str, Any], where: str) -> DatasetSpec | ImportSpec:
    """The spec that a root's attributes hold, of either kind.

    Raises
    ------
    InputError
        Where it is none.
    """
    text = json.dumps(attributes.get("spec"))
    if not is_imported(attributes):
        return DatasetSpec.from_json(text, where)
    try:
        return ImportSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def exported_spec(attributes: Mapping[str, Any], where: str, what: str) -> DatasetSpec:
    """The spec of a store that was exported from an Earth.

    Parameters
    ----------
    what : the command, for the sentence.

    Raises
    ------
    InputError
        For an imported store, which no Earth has pixels of.
    """
    spec = spec_of(attributes, where)
    if isinstance(spec, ImportSpec):
        raise InputError(f"{where}: was imported from {spec.labels.source}, and {what} needs a store that was exported "
                         "from Earth Engine; import its folder again in place of it")
    if (table := legend_of(attributes, where).table) != (own := spec.labels.table.name):
        raise InputError(f"{where}: was relabelled to {table}, and {what} gives the classes of {own}; do it to the "
                         "store it was made from, then relabel again")
    return spec


def root_attributes(spec: ImportSpec) -> dict[str, Any]:
    """What the root of an imported store says, beyond what every store says."""
    return {"band_units": dict(spec.band_units), "biomes": {}, "label_source": spec.labels.source}
