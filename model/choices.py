"""What a run takes from its config and its stores before the first step."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from dwplus.errors import InputError
from model.config import TrainConfig
from model.data import TileDataset
from model.networks import registry as networks
from model.networks.specsar_former import VARIANTS, Stage, variant_of
from model.normalise import Normalisation


def sets_of(stores: list[str], split: str, normalisation: Normalisation, classes: str | None,
             tables: Sequence[pd.DataFrame]) -> list[TileDataset]:
    """One dataset of whole tiles per store that has any in the split."""
    found = []
    for store, table in zip(stores, tables, strict=True):
        with contextlib.suppress(InputError):
            found.append(TileDataset(store, split, normalisation=normalisation, classes=classes, tables=[table]))
    return found


def crop_of(crop: int | None, sizes: list[int], stores: list[str], gives_way: bool) -> int | None:
    """The crop of the config.

    Parameters
    ----------
    gives_way : take whole tiles where they are smaller; so did earlier builds always, whose runs go on.

    Raises
    ------
    InputError
        Where a tile is smaller.
    """
    if crop is None or crop <= min(sizes):
        return crop
    if gives_way:
        return min(sizes)
    raise InputError(f"data.crop {crop}: the tiles of store {stores[sizes.index(min(sizes))]} are {min(sizes)} px; set "
                     f"data.crop to {min(sizes)} or less, or to null for whole tiles")


def options_of(config: TrainConfig, data: TileDataset) -> dict[str, Any]:
    """Options of the network with the stores' numbers of bands and classes.

    Raises
    ------
    InputError
        Where the config says other numbers.
    """
    own = {"s2_bands": len(data.s2_bands), "s1_bands": len(data.s1_bands), "classes": len(data.legend)}
    for key, bands in own.items():
        if (said := config.model.options.get(key, bands)) != bands:
            raise InputError(f"model.options.{key} {said!r}: store {', '.join(data.stores)} has {bands}; leave it out")
    return {**config.model.options, **own}


def recompute(net: nn.Module, name: str) -> None:
    """Have a network's stages work their blocks again in the backward pass.

    Raises
    ------
    InputError
        Where it has no such stages.
    """
    stages = [module for module in net.modules() if isinstance(module, Stage)]
    if not stages:
        raise InputError(f"run.recompute: {name} has no stages that can be worked again; leave it out, or take "
                         "specsar_former")
    for stage in stages:
        stage.recompute = True


#: Bytes that a training on a CPU may keep for the backward pass before it keeps less for more time (some 9 % of the
#: network's), and maps of a block's width that it keeps of a block.
LARGE, MAPS = 500_000_000, 25


def kept_bytes(name: str, options: dict[str, Any], batch: int, side: int) -> int:
    """About what autograd keeps of the blocks of a transformer in float32; 0 for other networks."""
    if "variant" not in networks.options_of(name) or not set(networks.variants_of(name)) <= set(VARIANTS):
        return 0
    sizes = variant_of(options.get("variant", "b2"))
    values = sum(width * depth * (side // (4 << i)) ** 2
                 for i, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)))
    return 4 * MAPS * batch * values


def precision_of(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        name = "bf16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise InputError("precision fp16: is for CUDA; on a CPU take fp32 or bf16")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def fingerprint(data: TileDataset) -> str:
    """Of the tiles a run trains on, in order."""
    keys = data.table[["store", "tile_id", "window", "s2_id", "s1_id"]].astype(str).agg("|".join, axis=1)
    return hashlib.blake2b("\n".join(keys).encode(), digest_size=12).hexdigest()
