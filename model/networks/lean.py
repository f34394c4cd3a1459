"""Layers of a training on a CPU that keep less for the backward pass: what is cheap to work again is worked again.

Of a norm and the products behind it autograd keeps the norm's answer beside its input; of windows that do not overlap
a copy in their order; of Mix-FFN three maps of four times the width. Here the norm, the windows, the depthwise
convolution and GELU are worked a second time, and the products of matrices, where the time goes, are not. The forward
pass is the same; gradients agree to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) as windows that do not overlap, (B, H / side, W / side, side * side * C); a view for side 1."""
    if side == 1:
        return x
    batch, height, width, dim = x.shape
    cut = x.view(batch, height // side, side, width // side, side, dim).permute(0, 1, 3, 2, 4, 5)
    return cut.reshape(batch, height // side, width // side, -1)


def joined(x: Tensor, side: int) -> Tensor:
    """The other way round of :func:`windows`."""
    if side == 1:
        return x
    batch, height, width, wide = x.shape
    cut = x.view(batch, height, width, side, side, wide // side**2).permute(0, 1, 3, 2, 4, 5)
    return cut.reshape(batch, height * side, width * side, -1)


def _weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """Of a linear layer's weight."""
    return gradient.flatten(0, -2).T @ x.flatten(0, -2)


class _Products(Function):
    """Linear layers of the windows of one map, which is normed before where there is a norm. Keeps the map, as it is
    given, and the norm's two numbers a position."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float, sides: tuple[int, ...],
                *layers: Tensor) -> tuple[Tensor, ...]:
        ctx.sides, ctx.eps = sides, eps
        if gamma is None:
            ctx.save_for_backward(x, *layers[::2])
            seen = x
        else:
            seen, mean, rstd = torch.native_layer_norm(x, gamma.shape, gamma, beta, eps)
            ctx.save_for_backward(x, *layers[::2], gamma, beta, mean, rstd)
        return tuple(F.linear(windows(seen, side), weight, bias)
                     for side, weight, bias in zip(sides, layers[::2], layers[1::2], strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, *kept = ctx.saved_tensors
        weights, norm = kept[:len(ctx.sides)], kept[len(ctx.sides):]
        needs = ctx.needs_input_grad
        seen = torch.native_layer_norm(x, norm[0].shape, norm[0], norm[1], ctx.eps)[0] if norm else x
        whole: Tensor | None = None
        layers: list[Tensor | None] = []
        for i, (side, weight, gradient) in enumerate(zip(ctx.sides, weights, gradients, strict=True)):
            layers.append(_weight_gradient(gradient, windows(seen, side)) if needs[5 + 2 * i] else None)
            layers.append(gradient.sum((0, 1, 2)) if needs[6 + 2 * i] else None)
            if any(needs[:3]):
                part = joined(gradient @ weight, side)
                whole = part if whole is None else whole.add_(part)
        if not norm or whole is None:
            return whole, None, None, None, None, *layers
        gamma, beta, mean, rstd = norm
        found = torch.ops.aten.native_layer_norm_backward(whole, x, gamma.shape, mean, rstd, gamma, beta, needs[:3])
        return *found, None, None, *layers


class _Mixed(Function):
    """Depthwise 3x3, GELU (tanh form) and a linear layer. Keeps the map that goes in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mixing: Tensor, mixing_bias: Tensor, down: Tensor, down_bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, mixing, mixing_bias, down)
        return F.linear(F.gelu(_depthwise(x, mixing, mixing_bias), approximate="tanh"), down, down_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, mixing, mixing_bias, down = ctx.saved_tensors
        needs = ctx.needs_input_grad
        mixed = _depthwise(x, mixing, mixing_bias)
        weight = (_weight_gradient(gradient, F.gelu(mixed, approximate="tanh")) if needs[3] else None)
        bias = gradient.sum((0, 1, 2)) if needs[4] else None
        if not any(needs[:3]):
            return None, None, None, weight, bias
        inner = torch.ops.aten.gelu_backward(gradient @ down, mixed, approximate="tanh")
        del mixed
        found = torch.ops.aten.convolution_backward(
            inner.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), mixing, [len(mixing)], [1, 1], [1, 1], [1, 1], False,
            [0, 0], len(mixing), needs[:3])
        return None if found[0] is None else found[0].permute(0, 2, 3, 1), found[1], found[2], weight, bias


class _Scored(Function):
    """Batch norm over the batch, ReLU and a linear layer whose weight (C, classes) every sample has of its own. Keeps
    the map that goes in; the backward pass goes over it in pieces, and writes its gradient in one map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor, mean: Tensor,
                var: Tensor, momentum: float, eps: float) -> Tensor:
        seen, center, rstd = torch.native_batch_norm(x.permute(0, 3, 1, 2), gamma, beta, mean, var, True, momentum, eps)
        ctx.save_for_backward(x, gamma, beta, weight, center, rstd)
        rows = seen.permute(0, 2, 3, 1).relu_().reshape(len(x), -1, x.shape[-1])
        return torch.baddbmm(bias, rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, gamma, beta, weight, center, rstd = ctx.saved_tensors
        scale = gamma * rstd
        shift = beta - center * scale
        inner, of_weight = torch.empty_like(x), torch.zeros_like(weight)
        of_gamma, of_beta = torch.zeros_like(gamma), torch.zeros_like(beta)
        samples = zip(x.flatten(1, 2), inner.flatten(1, 2), gradient, weight, of_weight, strict=True)
        pieces = [piece for sample in samples for piece in _pieces(*sample)]
        for rows, out, of_out, own, of_own in pieces:
            seen = torch.addcmul(shift, rows, scale).relu_()
            of_own.addmm_(seen.T, of_out)
            torch.mm(of_out, own.T, out=out)
            torch.ops.aten.threshold_backward.grad_input(out, seen, 0, grad_input=out)
            of_beta += out.sum(0)
            of_gamma += torch.sub(rows, center, out=seen).mul_(out).sum(0)
        of_gamma *= rstd
        count = x.numel() // x.shape[-1]
        slope = -scale * rstd * of_gamma / count
        rest = -scale * of_beta / count - center * slope
        for rows, out, *_ in pieces:
            out.mul_(scale).addcmul_(rows, slope).add_(rest)
        return inner, of_gamma, of_beta, of_weight, gradient.sum((0, 1)), None, None, None, None


#: Positions that are worked at once where a pass goes over a map in pieces.
PIECE = 1024


def _pieces(rows: Tensor, out: Tensor, gradient: Tensor, *whole: Tensor) -> Iterator[tuple[Tensor, ...]]:
    for some in zip(rows.split(PIECE), out.split(PIECE), gradient.split(PIECE), strict=True):
        yield *some, *whole


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3x3 of every channel of (B, H, W, C), in that order of memory."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=len(weight)).permute(0, 2, 3, 1).contiguous()


def products(x: Tensor, norm: nn.LayerNorm | None, *layers: tuple[int, Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Linear layers of a map (B, H, W, C), behind its norm.

    Parameters
    ----------
    layers : side of the windows, which divides H and W, weight and bias of each.
    """
    flat = [tensor for _, *layer in layers for tensor in layer]
    of_norm = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    out: tuple[Tensor, ...] = _Products.apply(x, *of_norm, tuple(side for side, *_ in layers), *flat)  # type: ignore[no-untyped-call]
    return out


def mixed(x: Tensor, depthwise: nn.Conv2d, down: nn.Linear) -> Tensor:
    """Depthwise 3x3, GELU and a linear layer of (B, H, W, C)."""
    out: Tensor = _Mixed.apply(  # type: ignore[no-untyped-call]
        x, depthwise.weight, depthwise.bias, down.weight, down.bias)
    return out


def scored(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> Tensor:
    """Batch norm in training, ReLU and a linear layer of (B, H, W, C); (B, H, W, classes).

    Parameters
    ----------
    weight : (B, C, classes), of every sample.
    """
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
    found: Tensor = _Scored.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), norm.weight, norm.bias, weight, bias, norm.running_mean, norm.running_var, norm.momentum,
        norm.eps)
    return found.view(*x.shape[:3], -1)
