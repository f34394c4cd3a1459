"""What the evaluation of a request may ask of the Earth: the archive, the clock, the tables it has read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from dwplus.embedded_earth.bands import image_of
from dwplus.embedded_earth.catalog import Catalog
from dwplus.embedded_earth.errors import ComputeError, not_found
from dwplus.embedded_earth.values import Collection, Hints, Image, TableElements

#: Values in one answer.
MAX_WRITTEN = 2_000_000
_ROOTS = ("projects/earthengine-public/assets/", "projects/earthengine-legacy/assets/")


@dataclass
class Context:
    """What functions may ask of the Earth while a request is evaluated.

    Attributes
    ----------
    catalog : the archive.
    deadline : ``time.monotonic()`` when the request has to give up.
    elements : most elements of a collection in one answer.
    tables : stored tables already read, kept from request to request.
    written : values of the answer so far.
    """

    catalog: Catalog
    deadline: float = float("inf")
    elements: int = 5000
    tables: dict[str, TableElements] = field(default_factory=dict)
    written: int = 0

    def check_time(self) -> None:
        """Give up where the deadline has passed."""
        if time.monotonic() > self.deadline:
            raise ComputeError("Computation timed out.", 400)

    def write(self) -> None:
        """Count a value of the answer: one that holds a value many times over may be small and its text endless."""
        self.written += 1
        if self.written > MAX_WRITTEN:
            raise ComputeError("User memory limit exceeded.")
        if self.written % 4096 == 0:
            self.check_time()

    def image(self, asset_id: str) -> Image:
        """A stored image."""
        scene = self.catalog.image(_short(asset_id))
        if scene is None:
            raise not_found(_short(asset_id), "Image.load", "Image")
        return image_of(scene)

    def image_collection(self, asset_id: str) -> Collection:
        """A stored collection, opened lazily: its limits reach the archive."""
        name = _short(asset_id)
        if self.catalog.asset_type(name) != "IMAGE_COLLECTION":
            raise not_found(name, "ImageCollection.load", "ImageCollection")

        def load(hints: Hints) -> Any:
            for scene in self.catalog.scenes(name, hints.start_ms, hints.end_ms, hints.bounds) or ():
                self.check_time()
                yield image_of(scene)

        return Collection("ImageCollection", load, {}, name)

    def table(self, asset_id: str) -> Collection:
        """A stored table; a stored image collection counts as one."""
        name = _short(asset_id)
        kind = self.catalog.asset_type(name)
        if kind == "IMAGE_COLLECTION":
            return self.image_collection(name)
        if name not in self.tables:
            rows = self.catalog.table(name)
            if rows is None:
                raise not_found(name, "Collection.loadTable", "Collection")
            self.tables[name] = TableElements(rows)
        return Collection("FeatureCollection", self.tables[name], {}, name)


def _short(asset_id: str) -> str:
    if not isinstance(asset_id, str):
        raise ComputeError(f"Asset ids are strings; got {type(asset_id).__name__}.")
    for root in _ROOTS:
        asset_id = asset_id.removeprefix(root)
    return asset_id
