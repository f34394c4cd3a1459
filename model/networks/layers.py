"""Parts the networks share. Maps travel as (B, H, W, C), so that linear layers and norms need no copy and convolutions
see them as channels-last.

Sources: Xie et al. 2021 (SegFormer, arXiv 2105.15203) for the efficient attention, Mix-FFN and all-MLP decoder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dwplus.errors import InputError
from model.networks import lean


def to_map(x: Tensor) -> Tensor:
    """(B, H, W, C) to (B, C, H, W) in channels-last memory, without a copy."""
    return x.permute(0, 3, 1, 2)


def to_last(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C); no copy where memory is channels-last."""
    return x.permute(0, 2, 3, 1).contiguous()


def check_bands(net: str, sensor: str, x: Tensor, bands: int) -> None:
    """Refuse a batch with another number of bands than the network was built for.

    Raises
    ------
    InputError
        In one sentence.
    """
    if x.ndim != 4 or x.shape[1] != bands:
        raise InputError(f"{net}: {sensor} must be (B, {bands}, H, W), found {tuple(x.shape)}; build the network with "
                         f"{sensor}_bands={x.shape[1] if x.ndim == 4 else '<bands>'}, or give {bands} bands")


def init_weights(module: nn.Module) -> None:
    """Linear: truncated normal 0.02; convolution: normal with std sqrt(2 / fan_out); biases zero. Shapes without
    numbers (the meta device) stay so: nothing is drawn."""
    if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.is_meta:
        return
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def channels_last(net: nn.Module) -> None:
    """Lay the weights of convolutions out as the gradients come that convolutions of channels-last maps make: to be
    added up, or sent to other processes, these need no copy then. Sides of one have their strides, too; convolutions
    that are worked as products have gradients in the usual order."""
    products = [conv for part in net.modules() if isinstance(part, MLPDecoder) for conv in (part.fuse, part.classify)]
    for conv in net.modules():
        if isinstance(conv, nn.Conv2d) and not any(conv is one for one in products):
            _, bands, height, width = conv.weight.shape
            strides = (bands * height * width, 1, width * bands, bands)
            conv.weight.data = torch.empty_strided(conv.weight.shape, strides, dtype=conv.weight.dtype,
                                                   device=conv.weight.device).copy_(conv.weight)


#: Standard deviation of a new classifier's weights: logits near zero, so that a network begins at ln(classes), and yet
#: a gradient for every weight below it.
HEAD_STD = 0.01


@torch.no_grad()
def start_head(head: nn.Conv2d) -> None:
    """Make a classifier small that :func:`init_weights` has drawn. Drawn as the backbone's convolutions it would be
    certain of random classes. **Ours.**"""
    head.weight.mul_(HEAD_STD / math.sqrt(2.0 * head.groups / (math.prod(head.kernel_size) * head.out_channels)))


class StochasticDepth(nn.Module):
    """Drops a residual branch for whole samples in training.

    Source: Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand((x.shape[0], *([1] * (x.ndim - 1))), device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1.0 - self.rate))


def _several() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Total(torch.autograd.Function):
    """Sum over all processes, there and back: torch's own, in torch.distributed.nn, warns since 2.13 that it is going
    and names a private module in its stead."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        out = gradient.clone()
        dist.all_reduce(out)
        return out


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the global batch, on any device.

    ``nn.SyncBatchNorm`` refuses CPU tensors; this one makes two CPU processes equal one. In a single process, and in
    evaluation, it is ``nn.BatchNorm2d``, but for a batch of one value a channel (one small crop, whose coarsest map is
    a pixel): one value has no variance, so that it is scaled by the running statistics, which stay as they are.
    Where ``synchronised`` is false every process keeps to its own samples.
    """

    synchronised = True

    def forward(self, x: Tensor) -> Tensor:
        several = self.synchronised and _several()
        if self.training and not several and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        if not (self.training and several):
            return super().forward(x)
        return self._global(x)

    def _global(self, x: Tensor) -> Tensor:
        wide = x.float()
        local = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)),
                           wide.new_full((1,), x.numel() / x.shape[1])])
        total: Tensor = _Total.apply(local)  # type: ignore[no-untyped-call]
        channels, count = x.shape[1], total[-1]
        mean = total[:channels] / count
        var = (total[channels:-1] / count - mean.square()).clamp_min(0)
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(var.detach() * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        out: Tensor = (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
        return out


class PatchEmbed(nn.Module):
    """Overlapped patch embedding: a strided convolution and a norm. (B, C, H, W) to (B, H', W', D)."""

    def __init__(self, bands: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(bands, dim, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(to_last(self.proj(x)))
        return out


def kernels(width: int, dtype: torch.dtype) -> list[SDPBackend]:
    """CUDA's kernels for attention with heads of a width, the first that can is taken; the last one always can.

    Flash attention takes half precision and widths of whole 16 bytes up to 256 (ours are 16 and 48); the one that saves
    memory takes float32 too. cuDNN's is left out: it makes a plan for every new shape.

    Source: sdp_utils.cpp of PyTorch 2.13.
    """
    bytes_wide = width * dtype.itemsize
    found = [SDPBackend.FLASH_ATTENTION] if dtype.itemsize == 2 and bytes_wide % 16 == 0 and width <= 256 else []
    return [*found, *([SDPBackend.EFFICIENT_ATTENTION] if bytes_wide % 16 == 0 else []), SDPBackend.MATH]


class Attention(nn.Module):
    """Multi-head attention whose keys and values come from a map reduced by a strided convolution.

    Parameters
    ----------
    dim, heads : width and number of heads.
    reduction : stride R of the reduction; 1 = none.
    plain : write the softmax out (the published form) in place of torch's fused attention. Same numbers, slower.
    """

    little = False  # see keep_little

    def __init__(self, dim: int, heads: int, reduction: int, plain: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"attention: width {dim} must be a multiple of the {heads} heads")
        self.heads, self.reduction, self.plain = heads, reduction, plain
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if reduction > 1:
            self.reduce = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Attend from x (B, H, W, C) to ``source`` of the same shape, or to x itself."""
        height, width = x.shape[1:3]
        source = x if source is None else source
        if self.reduction > 1:
            # A map smaller than R would leave no key at all.
            short_h, short_w = max(0, self.reduction - height), max(0, self.reduction - width)
            if short_h or short_w:
                source = F.pad(source, (0, 0, 0, short_w, 0, short_h))
            source = self.norm(self._reduced(source))
        return self._attend(self.q(x), self.kv(source))

    def of_norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Attend from the norm of x to itself."""
        if not (self._fits(x) and _keeps_little(self, x)):
            out: Tensor = self(norm(x))
            return out
        q, source = lean.products(x, norm, (1, self.q.weight, self.q.bias), (self.reduction, *self._first()))
        return self._attend(q, self._keys(source))

    def of_norms(self, x: Tensor, norm: nn.LayerNorm, other: Tensor, through: nn.Linear) -> Tensor:
        """Attend from the norm of x to another map behind a linear layer of its own."""
        if not self._fits(x):
            out: Tensor = self(norm(x), through(other))
            return out
        first, bias = self._first()
        if math.prod(x.shape[:3]) > 2 * self.reduction**2 * x.shape[-1]:
            # Two linear layers in a row are one, which is less work on a map larger than their weights.
            wide = first.view(len(first), -1, x.shape[-1])
            bias = bias + wide.sum(1) @ through.bias
            first = (wide @ through.weight).view(len(first), -1)
        else:
            other = through(other)
        if _keeps_little(self, x):
            (q,) = lean.products(x, norm, (1, self.q.weight, self.q.bias))
            (source,) = lean.products(other, None, (self.reduction, first, bias))
        else:
            q, source = self.q(norm(x)), F.linear(lean.windows(other, self.reduction), first, bias)
        return self._attend(q, self._keys(source))

    def _fits(self, x: Tensor) -> bool:
        """Whether a training step on this map may be worked as products of matrices."""
        if self.plain or not _trains_on_cpu(self, x):  # first, for an export of any size asks no size
            return False
        return not (x.shape[1] % self.reduction or x.shape[2] % self.reduction)

    def _first(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the first layer on the way to the keys, on windows: the reduction where there is one."""
        if self.reduction == 1:
            return self.kv.weight, self.kv.bias
        assert self.reduce.bias is not None
        return self.reduce.weight.permute(0, 2, 3, 1).reshape(self.reduce.out_channels, -1), self.reduce.bias

    def _keys(self, source: Tensor) -> Tensor:
        """Keys and values of what the first layer gave."""
        if self.reduction == 1:
            return source
        out: Tensor = self.kv(self.norm(source))
        return out

    def _attend(self, query: Tensor, keys: Tensor) -> Tensor:
        """Attention of (B, H, W, C) to keys and values (B, h, w, 2 C)."""
        batch, height, width, dim = query.shape
        q = query.view(batch, height * width, self.heads, -1).transpose(1, 2)
        k, v = keys.view(batch, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.plain:
            weights = (q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5
            out = weights.softmax(dim=-1) @ v
        elif q.device.type == "cuda":
            with sdpa_kernel(kernels(q.shape[-1], q.dtype), set_priority=True):
                out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        found: Tensor = self.proj(out.transpose(1, 2).reshape(batch, height, width, dim))
        return found

    def _reduced(self, x: Tensor) -> Tensor:
        """The strided convolution of (B, H, W, C). Its windows do not overlap: in a training on a CPU it is a product
        of matrices, which takes half of a convolution's time there and back."""
        if not self._fits(x):
            return to_last(self.reduce(to_map(x)))
        return F.linear(lean.windows(x, self.reduction), *self._first())


class MixFFN(nn.Module):
    """Linear d to 4d, depthwise 3x3, GELU (tanh form), linear 4d to d, on (B, H, W, C).

    Parameters
    ----------
    plain : keep what autograd keeps, as the published order of operations does. Same numbers, more memory.
    """

    little = False

    def __init__(self, dim: int, ratio: int = 4, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.up = nn.Linear(dim, ratio * dim)
        self.depthwise = nn.Conv2d(ratio * dim, ratio * dim, 3, padding=1, groups=ratio * dim)
        self.down = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = to_last(self.depthwise(to_map(self.up(x))))
        out: Tensor = self.down(F.gelu(x, approximate="tanh"))
        return out

    def of_norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Of the norm of x."""
        if self.plain or not _keeps_little(self, x):
            out: Tensor = self(norm(x))
            return out
        (wide,) = lean.products(x, norm, (1, self.up.weight, self.up.bias))
        return lean.mixed(wide, self.depthwise, self.down)


class MLPDecoder(nn.Module):
    """SegFormer's all-MLP decoder: every map to one width, up to stride 4, concatenated, fused, scored.

    Parameters
    ----------
    widths : channels of the maps, finest first.
    plain : the published order of operations. By default the linear layers are merged with their slices of the fusing
        convolution and applied before upsampling. Both are linear and a 1x1 convolution commutes with interpolation
        (whose weights sum to one), so the numbers agree to rounding, with a twentieth of the work; parameters are the
        same.
    """

    little = False

    def __init__(self, widths: Sequence[int], width: int, classes: int, dropout: float = 0.1,
                 plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.linears = nn.ModuleList(nn.Linear(w, width) for w in widths)
        self.fuse = nn.Conv2d(len(widths) * width, width, 1, bias=False)
        self.norm = GlobalBatchNorm2d(width, eps=1e-3, momentum=0.03)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """(B, H_i, W_i, C_i), finest first, to logits (B, classes, *size)."""
        grid = maps[0].shape[1:3]
        x = self._plain(maps, grid) if self.plain else self._merged(maps, grid)
        if self._one_layer(x):
            x = to_map(lean.scored(to_last(x), self.norm, *self._kept(x)))
        else:
            x = self._scored(F.relu(self.norm(x), inplace=True))
        if not self.plain and _trains_on_cpu(self, x):
            # The same as two products, whose backward pass is a fifth of interpolation's, and whose order of memory is
            # the one that the loss is quick in.
            down, across = (_between(n, m).to(x.dtype) for n, m in zip(x.shape[2:], size, strict=True))
            return down.T @ (x.contiguous() @ across)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def _scored(self, x: Tensor) -> Tensor:
        """Dropout of channels and the classifier. In a training both are one product: what is dropped is dropped from
        the few weights, not from the wide map, of which there would be a second one."""
        if self.plain or not (self.training and self.dropout.p):
            out: Tensor = self.classify(self.dropout(x))
            return out
        batch, width, *grid = x.shape
        weight, bias = self._kept(x)
        found = torch.baddbmm(bias, to_last(x).view(batch, -1, width), weight)
        return to_map(found.view(batch, *grid, -1))

    def _kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's weight (B, width, classes), without what dropout drops of every sample, and its bias."""
        weight = self.classify.weight[:, :, 0, 0]
        assert self.classify.bias is not None
        batch, width = x.shape[:2]
        if not self.dropout.p:
            return weight.T.expand(batch, -1, -1), self.classify.bias
        kept = self.dropout(x.new_ones(batch, width, 1, 1)).view(batch, 1, width)
        return (weight * kept).transpose(1, 2), self.classify.bias

    def _one_layer(self, x: Tensor) -> bool:
        """Whether norm, ReLU and classifier may be one layer that keeps its input alone: in a training on a CPU of one
        process, in the type of the weights."""
        norm = self.norm
        return (not self.plain and norm.training and not (norm.synchronised and _several()) and _keeps_little(self, x)
                and x.numel() > x.shape[1])

    def _plain(self, maps: Sequence[Tensor], grid: Sequence[int]) -> Tensor:
        wide = [to_map(linear(m)) for linear, m in zip(self.linears, maps, strict=True)]
        same = [m if tuple(m.shape[2:]) == tuple(grid) else resize(m, grid) for m in wide]
        out: Tensor = self.fuse(torch.cat(same[::-1], dim=1))
        return out

    def _merged(self, maps: Sequence[Tensor], grid: Sequence[int]) -> Tensor:
        slices = self.fuse.weight[:, :, 0, 0].chunk(len(maps), dim=1)
        total: Tensor | None = None
        # Coarsest first: the sum is written into a map of its own. Into a view, as the finest one's is, autograd would
        # copy the gradient at every addition, into an order of memory that resizing is slow in.
        for weight, linear, m in zip(slices, reversed(list(self.linears)), reversed(maps), strict=True):
            assert isinstance(linear, nn.Linear)
            part = to_map(F.linear(m, weight @ linear.weight, weight @ linear.bias))
            if tuple(part.shape[2:]) != tuple(grid):
                part = resize(part, grid)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total


def _trains_on_cpu(module: nn.Module, x: Tensor) -> bool:
    """Whether a step is being trained on a CPU, by torch's own kernels."""
    return (module.training and x.device.type == "cpu" and torch.is_grad_enabled()
            and not torch.compiler.is_compiling())


def _keeps_little(module: Attention | MixFFN | MLPDecoder, x: Tensor) -> bool:
    """Whether such a step keeps less than autograd does (:mod:`model.networks.lean`): in the type of the weights."""
    return module.little and _trains_on_cpu(module, x) and not torch.is_autocast_enabled("cpu")


def keep_little(net: nn.Module) -> None:
    """Have trainings of a network on a CPU keep less for the backward pass, for a little more time; same numbers to
    rounding, and nothing changes where they are compiled, in half precision or in the published order of operations."""
    for module in net.modules():
        if isinstance(module, Attention | MixFFN | MLPDecoder):
            module.little = True


@functools.lru_cache(maxsize=64)
def _between(count: int, wanted: int) -> Tensor:
    """Weights (count, wanted) of linear interpolation of so many values to so many, ends on ends."""
    return F.interpolate(torch.eye(count)[None], size=wanted, mode="linear", align_corners=True)[0]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, pixel centres (align_corners False)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def count_parameters(module: Any) -> int:
    """Trainable and fixed parameters, buffers left out."""
    return sum(p.numel() for p in module.parameters())
