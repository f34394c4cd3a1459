"""Land-cover networks for Dynamic World+ stores: build, train, evaluate. ``model.build(name)`` is the door."""

from __future__ import annotations

from model.registry import NETWORKS, build

__all__ = ["NETWORKS", "build"]
