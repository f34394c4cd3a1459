"""A trained network for others: ONNX and ``torch.export`` with the normalisation inside, weights with config, labels
and
a model card, in the layout of model hubs.

The network then takes what a store holds, in physical units: ``s2`` (B, bands, H, W) float32 DN (reflectance x 10000,
or
grey values), ``s1`` (B, bands, H, W) float32 dB (or grey values); NaN is no data in both, and 65535 in ``s2``.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dwplus.errors import InputError
from dwplus.runtime.paths import check_new, new_folder
from dwplus.store.layout import S2_NODATA
from model.checkpoint import Checkpoint, load, versions
from model.normalise import Normalisation, Scaling, own_bands

#: Files of an export.
ONNX, PROGRAM, WEIGHTS, CONFIG, CARD = "model.onnx", "model.pt2", "model.safetensors", "config.json", "README.md"
#: Largest difference of probabilities that is allowed between an export and the network.
TOLERANCE = 1e-4
#: Side of the image with which a network is traced when its sides may vary.
TRACED = 128


class Whole(nn.Module):
    """A network with its normalisation: physical values in, logits out."""

    def __init__(self, net: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.net = net
        self.own = own_bands(normalisation.s2.bands)
        for sensor in ("s2", "s1"):
            scaling: Scaling = getattr(normalisation, sensor)
            for key in ("mean", "std", "low", "high"):
                values = torch.tensor(getattr(scaling, key), dtype=torch.float32)[:, None, None]
                self.register_buffer(f"{sensor}_{key}", values)

    def _standard(self, x: Tensor, invalid: Tensor, sensor: str) -> Tensor:
        # No data first, so that nothing that is not finite is calculated with.
        x = torch.where(invalid, getattr(self, f"{sensor}_mean"), x)
        x = torch.clamp(x, getattr(self, f"{sensor}_low"), getattr(self, f"{sensor}_high"))
        x = (x - getattr(self, f"{sensor}_mean")) / getattr(self, f"{sensor}_std")
        return torch.where(invalid, torch.zeros_like(x), x)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Logits (B, classes, H, W).

        Parameters
        ----------
        s2 : (B, bands, H, W) float32 DN or grey values, NaN or 65535 = no data. s1 : (B, bands, H, W) float32 dB or
            grey values, NaN = no data.
        """
        nothing = torch.isnan(s2) | (s2 == float(S2_NODATA))
        no_s2 = nothing[:, :self.own].any(dim=1, keepdim=True)
        if self.own < s2.shape[1]:
            no_s2 = torch.cat([no_s2.expand(-1, self.own, -1, -1), nothing[:, self.own:]], dim=1)
        no_s1 = torch.isnan(s1).any(dim=1, keepdim=True)
        out: Tensor = self.net(self._standard(s2, no_s2, "s2"), self._standard(s1, no_s1, "s1"))
        return out


def export_model(run: str | Path, out: str | Path, *, size: int | None = None, onnx: bool = True,
                 batch: int = 1) -> dict[str, Any]:
    """Write a trained network for others.

    Parameters
    ----------
    run : folder of a run (its best weights), or a checkpoint. out : new folder. size : side of the images, px; None =
        that of the tiles it was trained on. Networks with attention are traced for one size. onnx : write
        ``model.onnx``
        and compare it with the network. batch : images at once.

    Returns
    -------
    dict: ``files``, ``largest_difference`` of the probabilities of ONNX and of ``torch.export`` to the network's.

    Raises
    ------
    InputError
        On a bad run, a folder that is there, or an export that does not give the network's answer.
    """
    checkpoint = load(run)
    out = Path(out)
    check_new(out)
    side = size or _side(checkpoint)
    whole = Whole(checkpoint.net, checkpoint.normalisation).eval()
    s2, s1 = example(checkpoint, batch, side)
    with torch.no_grad():
        wanted = whole(s2, s1).softmax(1)
    with new_folder(out) as partial:
        program = torch.export.export(whole, (s2, s1))
        torch.export.save(program, partial / PROGRAM)
        differences = {"torch.export": _apart(torch.export.load(partial / PROGRAM).module()(s2, s1).softmax(1), wanted)}
        if onnx:
            _write_onnx(program, s2, s1, partial / ONNX)
            differences["onnx"] = _apart(onnx_logits(partial / ONNX, s2, s1).softmax(1), wanted)
        for kind, far in differences.items():
            if not far <= TOLERANCE:
                raise InputError(f"run {run}: its {kind} export differs from the network by {far:.2g} in a "
                                 f"probability, more than {TOLERANCE:g}; nothing was written")
        _write_weights(checkpoint, partial / WEIGHTS)
        (partial / CONFIG).write_text(json.dumps(config_of(checkpoint, side, batch), indent=2) + "\n")
        (partial / CARD).write_text(card_of(checkpoint, side, differences, _scores(run)))
    return {"files": sorted(path.name for path in out.iterdir()), "largest_difference": differences, "size": side}


def example(checkpoint: Checkpoint, batch: int, side: int) -> tuple[Tensor, Tensor]:
    """Images within the range of what the network was trained on, a corner of each sensor without data."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for sensor in ("s2", "s1"):
        scaling: Scaling = getattr(checkpoint.normalisation, sensor)
        low, high = (torch.tensor(getattr(scaling, key))[None, :, None, None] for key in ("low", "high"))
        made.append(low + (high - low) * torch.rand((batch, len(scaling.bands), side, side), generator=draw))
    s2, s1 = made
    s2[..., :8, :8] = float(S2_NODATA)
    s1[..., -8:, -8:] = float("nan")
    return s2, s1


def onnx_logits(path: Path, s2: Tensor, s1: Tensor) -> Tensor:
    """What ONNX Runtime says of images, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"s2": s2.numpy(), "s1": s1.numpy()})
    return torch.from_numpy(logits)


def _write_onnx(program: torch.export.ExportedProgram, s2: Tensor, s1: Tensor, path: Path) -> None:
    # Its exporter warns of each operator of a package that this project does without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(program, (s2, s1), input_names=["s2", "s1"], output_names=["logits"], dynamo=True,
                                 verbose=False)
    assert made is not None
    made.save(str(path), external_data=False)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.detach() - other.detach()).abs().max())


def _side(checkpoint: Checkpoint) -> int:
    specs = checkpoint.info.get("specs")
    sizes = {int(spec["tile"]["size"]) for spec in specs or [] if isinstance(spec, dict) and "tile" in spec}
    if len(sizes) != 1:
        raise InputError(f"checkpoint {checkpoint.path}: does not say one size of tiles; give --size")
    return next(iter(sizes))


def _write_weights(checkpoint: Checkpoint, path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.net.state_dict().items()}
    path.write_bytes(b"")  # its own files are for their owner alone
    mode = path.stat().st_mode
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(mode)


def config_of(checkpoint: Checkpoint, side: int, batch: int = 1) -> dict[str, Any]:
    """What ``config.json`` holds: architecture, labels, bands with units, normalisation."""
    legend, info = checkpoint.legend, checkpoint.info
    units = info.get("band_units") or {}
    return {
        "model_type": checkpoint.name, "architectures": [type(checkpoint.net).__name__],
        "options": info["model"]["options"], "num_labels": len(legend),
        "id2label": {str(i): name for i, name in enumerate(legend.classes)},
        "label2id": {name: i for i, name in enumerate(legend.classes)},
        "label_codes": list(legend.codes), "label_colours": list(legend.colours), "class_table": legend.table,
        "ignore_index": legend.ignore, "image_size": side, "batch_size": batch,
        "inputs": {name: {"bands": list(info[f"{name}_bands"]),
                          "units": [units.get(band, "reflectance" if name == "s2" else "dB")
                                    for band in info[f"{name}_bands"]],
                          "dtype": "float32",
                          "nodata": "NaN or 65535" if name == "s2" else "NaN"} for name in ("s2", "s1")},
        "normalisation": checkpoint.normalisation.to_dict(), "normalisation_inside": [ONNX, PROGRAM],
        "versions": versions()}


def _scores(run: str | Path) -> dict[str, Any] | None:
    """Scores of the run's evaluation of the test split, where it has one."""
    path = Path(run) / "evaluation_test" / "metrics.json"
    try:
        found = json.loads(path.read_text())
        return dict(found["overall"]) | {"stores": found["stores"], "date": found["date"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def card_of(checkpoint: Checkpoint, side: int, differences: dict[str, float], scores: dict[str, Any] | None) -> str:
    """The model card, Markdown with the head of YAML that hubs read."""
    info, legend = checkpoint.info, checkpoint.legend
    units = info.get("band_units") or {}
    bands = "\n".join(f"| {name} | {', '.join(f'{b} ({units.get(b, default)})' for b in info[f'{name}_bands'])} |"
                      for name, default in (("s2", "reflectance"), ("s1", "dB")))
    labels = "\n".join(f"| {i} | {name} | {code} | {colour} |" for i, (name, code, colour) in enumerate(
        zip(legend.classes, legend.codes, legend.colours, strict=True)))
    said = "Not evaluated; `dwplus evaluate` makes the figures."
    if scores is not None:
        said = (f"Test split of {', '.join(Path(s).name for s in scores['stores'])}, {scores['date'][:10]}: mIoU "
                f"{100 * scores['miou']:.2f}, overall accuracy {100 * scores['oa']:.2f}, macro F1 "
                f"{100 * scores['macro_f1']:.2f} on {scores['tiles']} tiles; means over the classes with true pixels.")
    apart = ", ".join(f"{kind} {far:.1e}" for kind, far in differences.items())
    stores = ", ".join(Path(str(store)).name for store in info.get("stores", []))
    return f"""---
library_name: pytorch
pipeline_tag: image-segmentation
tags: [land-cover, sentinel-1, sentinel-2, {checkpoint.name.replace("_", "-")}]
---

# {checkpoint.name} for land cover ({legend.table})

Trained with dwplus {info.get("versions", {}).get("dwplus", "")} on {stores}, epoch {info["epoch"]}. Which parts of the
network are published and which are a reconstruction is said in the documentation of dwplus ("What is faithful").

## Use

`{ONNX}` and `{PROGRAM}` take physical values and hold the normalisation: `s2` and `s1` of shape (batch, bands, {side},
{side}), float32; NaN is no data, in `s2` also 65535. They give logits (batch, {len(legend)}, {side}, {side}).
`{WEIGHTS}` holds the weights alone, for inputs normalised as `{CONFIG}` says.

| input | bands, in order (unit) |
|---|---|
{bands}

| label | class | code in its data set | colour |
|---|---|---|---|
{labels}

## Scores

{said}

Largest difference of a probability between export and network, on drawn images: {apart}.

## Limits

It knows what its training stores hold; other sensors, processing or places need an evaluation of their own. The licence
of the weights follows from that of the training data, which the stores' root attributes name.
"""
