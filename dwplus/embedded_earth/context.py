"""What the evaluation of a request may ask of the Earth: the archive, the clock, the tables it has read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

import shapely

from dwplus.embedded_earth.bands import image_of
from dwplus.embedded_earth.catalog import Catalog
from dwplus.embedded_earth.errors import ComputeError, not_found
from dwplus.embedded_earth.profile import Profile, Profiles
from dwplus.embedded_earth.shapes import Geometry
from dwplus.embedded_earth.values import Collection, Hints, Image, TableElements

#: Values in one answer.
MAX_WRITTEN = 2_000_000
#: What a scene's index in its collection is made of.
_INDEX = re.compile(r"[\w-]+")
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
    edges, aggregations, aggregations_code : as in :class:`~dwplus.embedded_earth.limits.Limits`.
    aggregated : regions reduced so far.
    profile : where the work is counted, where the client asked for it; profiles : those of earlier requests.
    """

    catalog: Catalog
    deadline: float = float("inf")
    elements: int = 5000
    tables: dict[str, TableElements] = field(default_factory=dict)
    written: int = 0
    edges: int = 2_000_000
    aggregations: int | None = None
    aggregations_code: int = 429
    aggregated: int = 0
    profile: Profile | None = None
    profiles: Profiles = field(default_factory=Profiles)

    def aggregate(self) -> None:
        """Count a reduction of regions."""
        self.aggregated += 1
        if self.aggregations is not None and self.aggregated > self.aggregations:
            raise ComputeError("Too many concurrent aggregations.", self.aggregations_code)

    def check_edges(self, shape: Geometry) -> None:
        """Refuse a geometry of too many edges, in the service's words."""
        found = int(shapely.get_num_coordinates(shape.shape))
        if found > self.edges:
            raise ComputeError(f"Geometry has too many edges ({found} > {self.edges}).")

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
            if hints.index is not None and _INDEX.fullmatch(hints.index):
                only = self.catalog.image(f"{name}/{hints.index}")
                yield from [] if only is None else [image_of(only)]
                return
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
