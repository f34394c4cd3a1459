"""Sentences that every page says alike: what is synthetic, and what a map is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Said where pixels come from an embedded Earth.
SYNTHETIC = ("Its pixels come from the embedded Earth: synthetic on the sample planet. Good for trying, testing and "
             "teaching, for no statement about the real Earth.")
#: Public sets whose labels are a model's, or a coarse map's.
MADE_BY_MODELS = ("mmearth", "sen12ms")
#: What an asset tree's stores say of where their pixels come from.
ASSET_TREE = "asset tree"


def synthetic(earth: str, version: str = "") -> str:
    """The banner of what was made from an Earth; empty where pixels are what a service or an asset tree gave.

    Parameters
    ----------
    earth, version : attributes ``earth`` and ``earth_version`` of a store.
    """
    return SYNTHETIC if earth == "embedded-earth" and version != ASSET_TREE else ""


def synthetic_map(folder: Path) -> str:
    """The banner of a finished map, or of a change: empty where its pixels are no sample planet's."""
    for name in ("map.json", "change.json"):
        try:
            facts = json.loads((folder / name).read_text())
        except (OSError, ValueError):
            continue
        return SYNTHETIC if isinstance(facts, dict) and facts.get("synthetic") else ""
    return ""


@dataclass(frozen=True)
class Reference:
    """What predictions are held against.

    Attributes
    ----------
    name : for people. truth : whether it may be called right or wrong: labels that people drew, or the sample planet's
        own truth; the predictions of another model can only be agreed with.
    """

    name: str
    truth: bool

    @property
    def figures(self) -> str:
        """What the scores are."""
        return f"accuracy against {self.name}" if self.truth else f"agreement with {self.name}"

    @property
    def hits(self) -> str:
        """What is said of pixels that are as the reference has them."""
        return "are mapped right" if self.truth else f"agree with {self.name}"


def reference_of(sources: Iterable[str]) -> Reference:
    """The reference of stores with these label sources.

    Parameters
    ----------
    sources : values of the attribute ``label_source``.
    """
    found = sorted({str(source) for source in sources})
    names = {"dynamic-world-v1": "Dynamic World V1", "annotations": "labels annotated by people",
             "truth": "the planet's truth", "asset": "the labels' map"}
    truth = bool(found) and not {"dynamic-world-v1", *MADE_BY_MODELS} & set(found)
    return Reference(" and ".join(names.get(source, f"the labels of {source}") for source in found) or "the labels",
                     truth)
