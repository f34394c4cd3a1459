"""Training: stores and a config in, a run folder out. The same command goes on with a stopped run, number for number.

A run folder holds ``config.yaml``, ``best.safetensors`` (highest validation mIoU), ``last.safetensors`` (with the
optimiser's state), ``log.jsonl`` (a line per epoch) and, where tensorboard is installed, ``tensorboard/``.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dwplus.errors import DwplusError, InputError, scrubbed
from dwplus.runtime.console import say
from dwplus.store.legend import attributes_of
from dwplus.taxonomy import IGNORE
from model import batching, compiling, finetune
from model import checkpoint as checkpoints
from model.calibration import calibrate
from model.choices import LARGE, crop_of, fingerprint, kept_bytes, options_of, precision_of, recompute, sets_of
from model.config import TrainConfig, flat_differences, make_config
from model.data import TileDataset, band_statistics, keep_statistics
from model.distributed import World, world
from model.loader import Batch, Loader, device_batches
from model.losses import make_loss
from model.memory import keep_pages
from model.metrics import scores
from model.networks.layers import GlobalBatchNorm2d, channels_last, count_parameters, keep_little
from model.networks.registry import build
from model.normalise import Normalisation, Normaliser
from model.optimiser import AdamW
from model.progress import curves, epoch_line, percent, step_progress
from model.radiometry import varied
from model.reading import Reading
from model.sampling import TileSampler
from model.selection import tile_sizes
from model.summary import Passed, Summary
from model.validation import confusion

#: Keys that decide how fast or how long a run goes, not its numbers: they may change when it is taken up again.
FREE = ("data.threads:", "data.ahead:", "data.crop_gives_way:", "run.tensorboard:", "run.max_bad_steps:",
        "run.patience:", "run.save_every:", "run.recompute:", "run.compile:")


def train(stores: str | Path | Sequence[str | Path], run: str | Path, config: TrainConfig, *, device: str | None = None,
          pause_after: int | None = None) -> Summary:
    """Train, or go on training.

    Parameters
    ----------
    stores : path or paths. run : folder of the run. device : ``cpu``, ``cuda``, ...; None = CUDA where there is one.
    pause_after : stop after this epoch as if interrupted; the next call goes on.

    Raises
    ------
    InputError
        On bad stores or config, a split with no tiles, a run of another config.
    DwplusError
        Where the loss stays not finite.
    """
    paths = [str(s) for s in ([stores] if isinstance(stores, str | Path) else stores)]
    with world(device) as here:
        return Trainer(paths, Path(run), config, here).fit(pause_after)


class Trainer:
    """One run. Everything that decides its numbers is in the config, the tiles, and the step's number."""

    def __init__(self, stores: list[str], run: Path, config: TrainConfig, here: World) -> None:
        self.stores, self.run, self.config, self.world = stores, run, config, here
        self.device = here.device
        optim, data = config.optim, config.data
        if config.run.deterministic or torch.are_deterministic_algorithms_enabled():
            # Asked only where it changes something: the question loads a compiler, for seconds.
            torch.use_deterministic_algorithms(config.run.deterministic, warn_only=True)
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = not config.run.deterministic
        filters: dict[str, Any] = {"min_gap_hours": data.min_gap_hours, "max_gap_hours": data.max_gap_hours,
                                   "max_cloud": data.max_cloud, "biomes": data.biomes,
                                   "min_valid_fraction": data.min_valid_fraction, "exclude": data.exclude,
                                   "classes": data.classes, "extras": data.extras}
        crop = crop_of(data.crop, tile_sizes(stores), stores,
                     gives_way=data.crop_gives_way or (run / "last.safetensors").exists())
        self.data = TileDataset(stores, "train", crop=crop, augment=data.augment, seed=config.run.seed,
                                drop_s2=data.drop_s2, drop_s1=data.drop_s1, max_tiles=data.max_tiles, share=data.share,
                                **filters)
        self.fingerprint, self.side = fingerprint(self.data), self.data.window
        self.options = options_of(config, self.data)
        torch.manual_seed(config.run.seed)
        net = build(config.model.name, **self.options)  # a wrong option is said before anything is measured
        if config.run.recompute:
            recompute(net, config.model.name)
        resumed = self._earlier()
        config, optim = self.config, self.config.optim
        if resumed is None:
            beside = run / "statistics.json"
            found, fresh = band_statistics(stores, max_tiles=data.statistics_tiles, seed=config.run.seed,
                                           threads=data.threads, beside=beside, speak=say if here.first else None,
                                           tables=self.data.tables, **filters)
            self.normalisation = Normalisation.of(found)
            if fresh and here.first:
                keep_statistics(stores, found, beside)
        else:
            self.normalisation = Normalisation.from_dict(resumed[1]["normalisation"])
        self.normaliser = Normaliser(self.normalisation).to(self.device)
        self.validation = sets_of(stores, "val", self.normalisation, data.classes, self.data.tables)
        self.loss = make_loss(config.loss, self.data.class_counts).to(self.device)
        self.net = net
        begin = config.init
        self.anew = tuple(map(str, resumed[1].get("anew", ()))) if resumed is not None else ()
        if begin.source is not None and resumed is None:
            taken = finetune.start(self.net, begin.source)
            self.anew = taken.anew
            if here.first:
                say(f"starting from {begin.source}: {taken.line}")
        if begin.freeze or begin.probe:
            left = finetune.hold(self.net, begin.freeze, begin.probe, self.anew)
            if here.first:
                say(f"{left:,} of {count_parameters(self.net):,} parameters are trained, the others are held")
        self.net = self.net.to(self.device)
        channels_last(self.net)
        for module in self.net.modules():
            if isinstance(module, GlobalBatchNorm2d):
                module.synchronised = config.run.sync_batch_norm
        self.takes_label = bool(getattr(self.net, "takes_label", False))
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval() if optim.ema else None
        self._parameters: list[Tensor] = list(self.net.parameters())
        self._averaged: list[Tensor] = [] if self.ema is None else list(self.ema.parameters())
        # Fused, one pass over the weights does all of AdamW, and a step can be called off without asking the device.
        self.optimiser = AdamW(finetune.groups(self.net, optim.weight_decay, begin.layer_decay), optim.lr, optim.betas)
        self.precision = precision_of(config.run.precision, self.device)
        if not optim.batch_size:
            self._batch_size(batching.found(finetune.still(self.net.train()), self._trial, here, len(self.data)))
            config, optim = self.config, self.config.optim
            if here.first:
                say(f"batches of {optim.batch_size} samples fit into the memory of {self.device}")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.global_batch = optim.batch_size * optim.accumulate * here.size
        self.sampler = TileSampler(self.data.table, self.global_batch, seed=config.run.seed,
                                   buffer=data.shuffle_buffer, balance=data.balance, windows=data.crops_per_tile)
        self.steps_per_epoch = len(self.sampler)
        self.epoch, self.step, self.bad = 0, 0, 0
        self.passed = Passed()
        self.pending: Reading | None = None
        self.writing = checkpoints.Background()
        self.summary = Summary(run)
        if resumed is not None:
            self._restore(*resumed)
        if self.device.type == "cpu":
            keep_pages()
            if kept_bytes(config.model.name, config.model.options, optim.batch_size, self.side) > LARGE:
                keep_little(self.net)
        self.forward: Any = self.net
        if compiling.wanted(config.run.compile, self.device):
            self.forward, said = compiling.compiled(
                finetune.still(self.net.train()), self._trial(optim.batch_size), self.device,
                compiling.graphs_fit(self.device, here.size, optim.accumulate))
            if here.first:
                say(f"network: {said}")
        if here.size > 1:
            # Synchronised batch norms agree by themselves (GlobalBatchNorm2d), so that buffers need no broadcast.
            self.forward = DistributedDataParallel(
                self.forward, device_ids=[self.device] if self.device.type == "cuda" else None,
                forward_sync_buffers=not config.run.sync_batch_norm)

    def _batch_size(self, samples: int) -> None:
        self.config = self.config.model_copy(update={"optim": self.config.optim.of(samples)})

    def _trial(self, samples: int) -> compiling.Trial:
        """A pass forward and back of a batch."""
        return compiling.Trial(len(self.data.s2_bands), len(self.data.s1_bands), self.side, samples, self.takes_label,
                               self.precision)

    # -- the run folder -------------------------------------------------------------------------------------------

    def _earlier(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and header of this run's last checkpoint; None in a new run."""
        path = self.run / "last.safetensors"
        if not path.exists():
            return None
        tensors, info = checkpoints.read(path)
        checkpoints.needed(info, path, config=dict, fingerprint=str, tiles=int, processes=int, normalisation=dict,
                           epoch=int, step=int, best_epoch=int, stopped=str, history=list, scaler=dict,
                           best_miou=(int, float, type(None)))
        # Through today's config: a run of an older version has fewer keys, whose defaults are what it did.
        before = make_config(info["config"], f"run {self.run}").to_dict()
        if not self.config.optim.batch_size:  # what was found when the run began
            self._batch_size(before["optim"]["batch_size"])
        longer = self.config.optim.epochs > before["optim"]["epochs"]
        free = (*FREE, "optim.epochs:") if longer else FREE
        changed = [d for d in flat_differences(before, self.config.to_dict()) if not d.startswith(free)]
        if info["fingerprint"] != self.fingerprint:
            changed.append(f"training tiles: {info['tiles']} -> {len(self.data)} (other tiles)")
        if info["processes"] != self.world.size:
            changed.append(f"processes: {info['processes']} -> {self.world.size}")
        if changed:
            raise InputError(f"run {self.run}: was begun otherwise ({'; '.join(changed[:3])}); choose another RUN, or "
                             "remove it")
        if longer and self.world.first:
            schedule = "" if self.config.optim.schedule == "constant" else (
                "; from here the rate is that of this step in a run of that many")
            say(f"run {self.run} goes on from epoch {info['epoch']} to {self.config.optim.epochs} epochs, begun for "
                f"{before['optim']['epochs']}{schedule}")
        return tensors, info

    def _restore(self, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
        where = f"checkpoint {self.run / 'last.safetensors'}"
        checkpoints.fill(self.net, checkpoints.part(tensors, "net"), where)
        if self.ema is not None:
            checkpoints.fill(self.ema, checkpoints.part(tensors, "ema"), where)
        names = {p: n for n, p in self.net.named_parameters()}
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:
                kept = {key: tensors[f"optim.{key}.{names[parameter]}"] for key in ("step", "exp_avg", "exp_avg_sq")
                        if f"optim.{key}.{names[parameter]}" in tensors}
                if kept:
                    # Moments lie as their weights do, for they are gone over together.
                    self.optimiser.state[parameter] = {
                        key: value.to(self.device) if not value.ndim else torch.empty_like(parameter).copy_(value)
                        for key, value in kept.items()}
        if info["scaler"]:
            self.scaler.load_state_dict(info["scaler"])
        self.epoch, self.step = info["epoch"], info["step"]
        self.summary = Summary(self.run, self.epoch, self.step, info["best_epoch"],
                               float("nan") if info["best_miou"] is None else info["best_miou"], info["stopped"],
                               info["history"])
        self.passed = Passed(**info.get("passed", {}))
        if self.world.first:
            within = f" and step {self.passed.steps} of the next" if self.passed.steps else ""
            say(f"run {self.run} is there and of the same config: going on after epoch {self.epoch}{within}")

    def _info(self) -> dict[str, Any]:
        done = self.summary
        return {
            "model": {"name": self.config.model.name, "options": self.options},
            "s2_bands": self.data.s2_bands, "s1_bands": self.data.s1_bands,
            **attributes_of(self.data.legend), "band_units": self.data.units,
            "normalisation": self.normalisation.to_dict(), "config": self.config.to_dict(), "specs": self.data.specs,
            "stores": [scrubbed(store) for store in self.stores], "anew": self.anew,
            "tiles": len(self.data), "fingerprint": self.fingerprint,
            "processes": self.world.size, "epoch": self.epoch, "step": self.step, "best_epoch": done.best_epoch,
            "best_miou": None if math.isnan(done.best_miou) else done.best_miou, "stopped": done.stopped,
            "history": done.history, "passed": asdict(self.passed), "alpha": self.loss.class_weights,
            "scaler": self.scaler.state_dict(), "versions": checkpoints.versions()}

    def _save_last(self) -> None:
        tensors = {f"net.{n}": t for n, t in self.net.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{n}": t for n, t in self.ema.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optim.{key}.{name}"] = torch.as_tensor(value)
        self.writing.save(self.run / "last.safetensors", tensors, self._info(), previous=True)

    def _save_best(self) -> None:
        kept = self.ema if self.ema is not None else self.net
        self.writing.save(self.run / "best.safetensors", {f"net.{n}": t for n, t in kept.state_dict().items()},
                          self._info())

    # -- the loop -------------------------------------------------------------------------------------------------

    def fit(self, pause_after: int | None = None) -> Summary:
        """Train to the end of the config, to early stop, or to the pause."""
        optim, done, first = self.config.optim, self.summary, self.world.first
        if done.stopped == "early" or self.epoch >= optim.epochs:
            if first:
                say(f"run {self.run} is finished: epoch {self.epoch}, best mIoU {percent(done.best_miou)} at epoch "
                    f"{done.best_epoch}; " + ("it was stopped early" if done.stopped == "early" else
                                              "more optim.epochs go on from here") + ", another RUN begins anew")
            return done
        if first:
            self._begin()
        with curves(self.run, self.config.run.tensorboard and first) as board, self.writing:
            while self.epoch < optim.epochs:
                record = self._epoch()
                last = self.epoch == optim.epochs
                if self.validation and (last or self.epoch % self.config.run.validate_every == 0):
                    found = scores(self._validate())
                    record |= {f"val_{k}": found[k] for k in ("miou", "oa", "macro_f1", "kappa")}
                self._close_epoch(record, board)
                if done.stopped == "early" or self.epoch == pause_after:
                    break
        if first and self.validation and done.stopped in ("done", "early"):
            self._calibrate()
        self.world.wait()
        return done

    def _calibrate(self) -> None:
        """Keep the temperature of the best weights beside them."""
        fit = calibrate(self.run / "best.safetensors", self.validation, self.device)
        if fit is not None:
            say(f"temperature {fit.temperature:.3f}, fitted on {fit.pixels:,} pixels of split val: negative "
                f"log-likelihood {fit.before:.4f} -> {fit.after:.4f}")

    def _begin(self) -> None:
        try:
            self.run.mkdir(parents=True, exist_ok=True)
            (self.run / "config.yaml").write_text(yaml.safe_dump(self.config.to_dict(), sort_keys=False))
        except OSError as error:
            raise InputError(f"run {self.run}: cannot be written ({error.strerror or error})") from None
        held = sum(map(len, self.validation))
        say(f"{self.config.model.name} ({count_parameters(self.net) / 1e6:.2f}M parameters) on {self.device}"
            f"{f' x {self.world.size}' if self.world.size > 1 else ''}, {str(self.precision).split('.')[-1]}: "
            f"{len(self.data)} training tiles, {held} for validation, batches of {self.global_batch} x {self.side} px, "
            f"{self.steps_per_epoch} steps an epoch, {self.config.optim.epochs} epochs")
        if not held:
            say("no exported tile is in split val: training without validation, the last weights are kept")

    def _close_epoch(self, record: dict[str, Any], board: Any) -> None:
        done, run = self.summary, self.config.run
        miou = record.get("val_miou", float("nan"))
        better = not math.isnan(miou) and not miou <= done.best_miou
        if better or (not self.validation):
            done.best_epoch = self.epoch
            done.best_miou = miou if better else done.best_miou
        done.epochs, done.steps = self.epoch, self.step
        done.stopped = "done" if self.epoch == self.config.optim.epochs else "paused"
        if (self.validation and run.patience and "val_miou" in record and done.stopped == "paused"
                and self.epoch - done.best_epoch >= run.patience * run.validate_every):
            done.stopped = "early"
        # JSON knows no NaN.
        done.history.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()})
        if self.world.first:
            if done.best_epoch == self.epoch:
                self._save_best()
            self._save_last()
            (self.run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in done.history))
            say(epoch_line(record, self.config.optim.epochs, better))
            if done.stopped == "early":
                say(f"stopping: no better mIoU for {self.epoch - done.best_epoch} epochs")
            if board is not None:
                for key, value in record.items():
                    if isinstance(value, int | float) and key != "epoch":
                        board.add_scalar(key.replace("val_", "val/"), value, self.epoch)
        self.world.wait()

    def _rate(self) -> float:
        optim = self.config.optim
        warm, total = optim.warmup_epochs * self.steps_per_epoch, optim.epochs * self.steps_per_epoch
        if self.step < warm:
            return optim.lr * (self.step + 1) / max(1.0, warm)
        if optim.schedule == "constant":
            return optim.lr
        share = (self.step - warm) / max(1.0, total - warm)
        return optim.min_lr + (optim.lr - optim.min_lr) * (1 + math.cos(math.pi * min(1.0, share))) / 2

    def _epoch(self) -> dict[str, Any]:
        """One pass over the tiles; its mean loss and speed."""
        optim, config = self.config.optim, self.config
        finetune.still(self.net.train())
        # Every part of a step is a slice over all processes: n processes see what one with n times the batch sees.
        mine = self.sampler.batches(self.epoch, self.world.rank, self.world.size, optim.batch_size * self.world.size)
        done, before = self.passed, self.passed.steps
        loader = Loader(self.data, mine, epoch=self.epoch, start=before * optim.accumulate,
                        threads=config.data.threads, ahead=max(config.data.ahead, optim.accumulate),
                        pin=self.device.type == "cuda",
                        keep=2 * self.sampler.group if self.sampler.windows > 1 else 0)
        began = time.perf_counter()
        batches = device_batches(loader, self.device)
        with step_progress(f"  epoch {self.epoch + 1}/{optim.epochs}", self.steps_per_epoch, self.world.first) as show:
            while done.steps < self.steps_per_epoch:
                self._step([next(batches) for _ in range(optim.accumulate)])
                done.steps += 1
                rate = (done.steps - before) * self.global_batch / (time.perf_counter() - began)
                # Losses are read a step later: after the first there is none.
                loss = f"loss {np.mean(done.losses[-20:]):.4f}, " if done.losses else ""
                show(done.steps, f"{loss}{rate:.1f} samples/s")
                every = config.run.save_every
                if every and done.steps % every == 0 and done.steps < self.steps_per_epoch:
                    self._flush()
                    if self.world.first:
                        self._save_last()
        self._flush()
        for _ in batches:
            pass
        seconds = time.perf_counter() - began
        self.epoch += 1
        self.passed = Passed()
        return {"epoch": self.epoch, "step": self.step, "loss": _mean(done.losses), "grad_norm": _mean(done.norms),
                "lr": self._rate(), "skipped": done.skipped, "seconds": seconds,
                "samples_per_s": (done.steps - before) * self.global_batch / seconds,
                "wait_share": loader.waited / seconds}

    def _step(self, parts: list[Batch]) -> Reading:
        """One optimiser step on the whole batch; its loss and norm are read in the middle of the next one.

        Nothing of it asks the device for a number: whether the step counts is decided on the device.
        """
        # Dropout and stochastic depth depend on the step alone, so that a resumed run draws what it would have drawn.
        torch.manual_seed(_mix(self.config.run.seed, self.step, self.world.rank))
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate() * group["scale"]
        pixels = torch.zeros((), dtype=torch.float64, device=self.device)
        for part in parts:
            pixels += (part.label != IGNORE).sum()
        pixels = self.world.total(pixels).clamp_min(1).float()
        total = torch.zeros((), device=self.device)
        with self._cast(True):  # what is cast is kept until the outermost one ends: every weight is cast once a step
            for i, part in enumerate(parts):
                more = self.world.size > 1 and i + 1 < len(parts)
                with self.forward.no_sync() if more else contextlib.nullcontext(), self._cast(False):
                    total += self._backward(part, pixels)
        self._settle()  # while the device has this step's work to do, and before it changes the weights
        self.world.total(total)
        # A scaler asks an optimiser for what AdamW has, too.
        self.scaler.unscale_(self.optimiser)  # type: ignore[arg-type]
        clip = self.config.optim.clip
        norm = nn.utils.clip_grad_norm_(self._parameters, math.inf if clip is None else clip, foreach=True)
        self.step += 1
        if not self.scaler.is_enabled():  # which calls a step off in this very way
            self.optimiser.found_inf = (~(torch.isfinite(total) & torch.isfinite(norm))).float()
        self.scaler.step(self.optimiser)  # type: ignore[arg-type]
        self.scaler.update()
        self.optimiser.zero_grad()
        self.pending = Reading(torch.stack([total, norm.to(total.dtype)]), self.step)
        return self.pending

    def _settle(self) -> None:
        """Look at the step before: count it, and average its weights, or say that it was skipped."""
        if self.pending is None:
            return
        (loss, size), step, self.pending = self.pending.read(), self.pending.step, None
        # fp16's scaler finds its scale by overflowing: then only the loss itself tells.
        if not math.isfinite(loss) or not (math.isfinite(size) or self.scaler.is_enabled()):
            self.bad += 1
            self.passed.skipped += 1
            if self.bad >= self.config.run.max_bad_steps:
                raise DwplusError(f"run {self.run}: the loss was not finite for {self.bad} steps in a row (epoch "
                                  f"{self.epoch + 1}, step {step}); lower optim.lr, or set run.precision to fp32")
            return
        self.bad = 0
        self.passed.losses.append(loss)
        self.passed.norms.append(size)
        self._average(step)

    def _flush(self) -> None:
        """Settle the last step: before its weights are kept, or looked at."""
        self._settle()
        if not self.config.run.sync_batch_norm:
            for buffer in self.net.buffers():
                self.world.from_first(buffer)
        # A network without batch norm has no buffers; the fused copy refuses empty lists.
        if self.ema is not None and (averaged := list(self.ema.buffers())):
            with torch.no_grad():
                torch._foreach_copy_(averaged, list(self.net.buffers()))

    def _cast(self, on: bool) -> torch.autocast:
        return torch.autocast(self.device.type, self.precision, enabled=on and self.precision != torch.float32)

    def _backward(self, part: Batch, pixels: Tensor) -> Tensor:
        """Gradients of one part; returns its share of the whole batch's loss."""
        s2, s1, label = self.normaliser(part.s2, part.s1, part.label, part.keep)
        s2, s1 = (varied(x, self.config.data.radiometric) for x in (s2, s1))
        with self._cast(True):
            # A network that learns from labels in other ways too says what that adds to the loss of its pixels.
            found = self.forward(s2, s1, label) if self.takes_label else self.forward(s2, s1)
        logits, extra = found if self.takes_label else (found, 0.0)
        loss = self.loss(logits, label, pixels) + extra * ((label != IGNORE).sum() / pixels)
        # DDP averages gradients over processes; the losses are shares of one sum.
        self.scaler.scale(loss * self.world.size).backward()
        out: Tensor = loss.detach()
        return out

    @torch.no_grad()
    def _average(self, step: int) -> None:
        if self.ema is None:
            return
        # Short memory at first: the first weights are noise.
        keep = min(self.config.optim.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._parameters, 1 - keep)

    def _validate(self) -> np.ndarray:
        """Confusion matrix over whole validation tiles, with the weights that are kept."""
        net = (self.ema if self.ema is not None else self.net).eval()
        return confusion(net, self.normaliser, self.validation, len(self.data.legend), self.world, self.precision,
                         self.config.optim.batch_size, self.side, self.config.data.threads)


def _mix(*numbers: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
