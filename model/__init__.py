"""Land-cover networks for Dynamic World+ stores: build, train, evaluate. ``model.build(name)`` is the door."""

from typing import TYPE_CHECKING

from dwplus.runtime import names as _names

if TYPE_CHECKING:
    from model.networks.registry import NETWORKS, build

__all__ = ["NETWORKS", "build"]

__getattr__ = _names.lazy(__name__, {"NETWORKS": "model.networks.registry", "build": "model.networks.registry"})
