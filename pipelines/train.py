"""Training: stores in, a run folder with a trained network out: ``dwplus train``; ``torchrun
--nproc-per-node N -m -- pipelines.train ...`` uses N GPUs (without ``--`` it takes ``--run`` for its own)."""

from __future__ import annotations

import os
import shlex
from typing import Any

from dwplus.errors import InputError
from dwplus.runtime import console
from dwplus.runtime.console import say
from pipelines.defaults import STORE, export_sample
from pipelines.door import run_command


def config_for(name: str | None, network: str | None, settings: list[str]) -> Any:
    """The config behind CONFIG, MODEL and --set.

    Parameters
    ----------
    name : a shipped config or a YAML file; None = with a GPU the network's own where one is shipped, else
        ``specsar_former``; without a GPU ``small``.
    network : a network, or ``network:variant``; None = the config's.

    Raises
    ------
    InputError
        In one sentence.
    """
    import torch

    from model.config import CONFIGS, load_config, merged, parse_override
    from model.networks.registry import NETWORKS, options_for

    if name is None:
        own = (network or "").partition(":")[0]
        shipped = own if own and (CONFIGS / f"{own}.yaml").exists() else "specsar_former"
        name = shipped if torch.cuda.is_available() else "small"
    over: dict[str, Any] = {}
    for setting in settings:
        over = merged(over, parse_override(setting))
    config = load_config(name, over)
    if network:
        short, _, variant = network.partition(":")
        if short not in NETWORKS:
            raise InputError(f"MODEL {network!r}: must be one of {', '.join(NETWORKS)}, with :variant if wanted")
        options = options_for(short, config.model.options) | ({"variant": variant} if variant else {})
        config = config.model_copy(update={"model": config.model.model_copy(
            update={"name": short, "options": options})})
    return config


def run(stores: list[str], network: str | None, folder: str | None, name: str | None, settings: list[str],
        device: str | None) -> int:
    """Train, say where the result lies and what to do with it.

    Parameters
    ----------
    stores : none = the sample, which is exported first where it is not there.
    """
    config = config_for(name, network, settings)
    if not (stores := [store for store in stores if store]):
        export_sample()
        stores = [STORE]
    target = folder or f"runs/{config.model.name}"
    from model.train import train

    try:
        summary = train(stores, target, config, device=device)
    except KeyboardInterrupt as stop:
        return console.stopped(stop, f"finished epochs are kept in {target}; the same command goes on from there")
    if os.environ.get("RANK", "0") == "0" and summary.epochs:
        best = f"best mIoU {100 * summary.best_miou:.2f} at epoch {summary.best_epoch}, " * (
            summary.best_miou == summary.best_miou)
        say(f"trained: {best}{target}/best.safetensors")
        say(f"evaluate it:  {console.program()} {shlex.join(['evaluate', '--store', *stores, '--run', target])}")
    return 0


if __name__ == "__main__":
    run_command("train")
