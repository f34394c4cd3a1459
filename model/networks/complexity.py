"""What a network weighs: parameters per part, and multiply-adds as the papers of this field count them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.networks.layers import count_parameters
from model.networks.specsar_former import MMAM, SpecSARFormer


def parts(net: SpecSARFormer) -> dict[str, int]:
    """Parameters per part of a SpecSAR-Former; the values add up to the whole."""
    found = {"embed_1": count_parameters(net.embed_spec) + count_parameters(net.embed_sar)}
    found |= {f"embed_{i}": count_parameters(embed) for i, embed in enumerate(net.embeds, 2)}
    for i, stage in enumerate(net.stages, 1):
        found[f"blocks_{i}"] = count_parameters(stage.blocks)
        found[f"mmam_{i}"] = count_parameters(stage.mmam) if stage.mmam is not None else 0
        found[f"norm_{i}"] = count_parameters(stage.norm)
    found |= {f"decoder_c{i}": count_parameters(linear) for i, linear in enumerate(net.decoder.linears, 1)}
    found["fuse"] = count_parameters(net.decoder.fuse) + count_parameters(net.decoder.norm)
    found["classifier"] = count_parameters(net.decoder.classify)
    return found


def thop_macs(net: nn.Module, s2: Tensor, s1: Tensor) -> int:
    """Multiply-adds of one forward pass by the convention of ``thop``, which the paper's 109.59 follows.

    Convolutions and linear layers by their weights without bias; four per element for every norm; for the global mean
    of MMAM one per pixel and one per channel. Attention's matrix products, activations and interpolation count
    nothing. Build the network with ``plain_decoder=True`` to count the published order of operations.
    """
    total = 0

    def count(module: nn.Module, inputs: Any, out: Any) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += out.numel() * (module.in_channels // module.groups) * module.kernel_size[0] * module.kernel_size[1]
        elif isinstance(module, nn.Linear):
            total += out.numel() * module.in_features
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            total += 4 * out.numel()
        elif isinstance(module, MMAM):
            total += out.numel() + out.shape[0] * out.shape[-1]

    handles = [module.register_forward_hook(count) for module in net.modules()]
    was = net.training
    try:
        with torch.no_grad():
            net.eval()(s2, s1)
    finally:
        net.train(was)
        for handle in handles:
            handle.remove()
    return total
