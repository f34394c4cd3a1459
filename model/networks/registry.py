"""Networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from dwplus.errors import InputError
from model.networks.baselines import LateFusion, SegFormer, UNet
from model.networks.claire import CLAIRE
from model.networks.cloudlulc_net import CloudLULCNet
from model.networks.pixel_mlp import VARIANTS as MLP_VARIANTS
from model.networks.pixel_mlp import PixelMLP
from model.networks.pyramid import PYRAMIDS
from model.networks.specsar_former import VARIANTS, SpecSARFormer

#: Every network is called as ``net(s2, s1) -> logits (B, 9, H, W)``.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "specsar_former": SpecSARFormer,
    "claire": CLAIRE,
    "cloudlulc_net": CloudLULCNet,
    "segformer": SegFormer,
    "segformer_s2": partial(SegFormer, sensors="s2"),
    "segformer_s1": partial(SegFormer, sensors="s1"),
    "unet": UNet,
    "late_fusion": LateFusion,
    "pixel_mlp": PixelMLP,
}


def sensors_of(name: str, options: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Sensors a network looks at: ("s2", "s1") or one of them."""
    fixed = getattr(NETWORKS.get(name), "keywords", {}).get("sensors")
    choice = fixed or (options or {}).get("sensors", "both")
    return ("s2", "s1") if choice == "both" else (choice,)


def options_of(name: str) -> set[str]:
    """Names of the options a network takes."""
    make = NETWORKS[name]
    taken = set(inspect.signature(make).parameters)
    return taken - set(getattr(make, "keywords", {}))


def variants_of(name: str) -> tuple[str, ...]:
    """Values the network's option ``variant`` may have; none where it has no such option."""
    if "variant" not in options_of(name):
        return ()
    if name == "pixel_mlp":
        return tuple(MLP_VARIANTS)
    return tuple(PYRAMIDS if name in ("claire", "cloudlulc_net") else VARIANTS)


def options_for(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Of a config's options, those that another network takes too; a variant that it has not gives way to its own."""
    taken = options_of(name)
    return {k: v for k, v in options.items() if k in taken and (k != "variant" or v in variants_of(name))}


def build(name: str, **options: Any) -> nn.Module:
    """Make a network.

    Parameters
    ----------
    name : one of :data:`NETWORKS`.
    options : of the network: ``s2_bands``, ``s1_bands``, ``classes``, ``variant``, ... (see its class).

    Returns
    -------
    nn.Module, called as ``net(s2, s1) -> logits (B, classes, H, W)``.

    Raises
    ------
    InputError
        On an unknown name or option.
    """
    if name not in NETWORKS:
        raise InputError(f"model {name!r}: must be one of {', '.join(NETWORKS)}")
    if unknown := sorted(set(options) - options_of(name)):
        raise InputError(f"model {name}: has no option {unknown[0]!r}; its options are "
                         f"{', '.join(sorted(options_of(name)))}")
    return NETWORKS[name](**options)
