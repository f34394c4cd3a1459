"""How a network is trained: one frozen model, read from YAML, kept in every checkpoint."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from dwplus.errors import InputError

CONFIGS = Path(__file__).parent / "configs"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Part):
    """Which network."""

    name: str = Field("specsar_former", description="a name of model.NETWORKS")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the network, such as variant")


class DataPart(_Part):
    """Which samples, and how they are varied."""

    crop: int | None = Field(None, ge=16, description="side of a random window of the tile, px, at most the "
                                                              "tile's; none = whole tiles")
    crop_gives_way: bool = Field(False, description="take whole tiles where they are smaller than the crop; off = "
                                                    "such a crop is refused. A shipped config's does, one set does not")
    crops_per_tile: int = Field(1, ge=1, description="windows of each tile in an epoch, which is as many times longer; "
                                                     "the tile is decoded once for all of them")
    augment: bool = Field(True, description="random flips and quarter turns")
    radiometric: float = Field(0.0, ge=0, le=1, description="standard deviation of a random gain, and offset, of "
                                                            "every band of a training sample, in the band's; 0 = off")
    drop_s2: float = Field(0.0, ge=0, le=1, description="probability that Sentinel-2 is missing from a training sample")
    drop_s1: float = Field(0.0, ge=0, le=1, description="probability that Sentinel-1 is missing from a training sample")
    min_gap_hours: float | None = Field(None, ge=0, description="least |S1 - S2| gap of training tiles")
    max_gap_hours: float | None = Field(None, ge=0, description="largest |S1 - S2| gap of training tiles")
    max_cloud: float | None = Field(None, ge=0, description="largest cloudiness of a training tile's S2 scene, percent")
    biomes: tuple[int, ...] | None = Field(None, description="biome numbers of training tiles")
    exclude: str | None = Field(None, description="CSV of marks (dwplus view), or any with a column tile_id: training "
                                                  "tiles marked bad are left out")
    min_valid_fraction: float = Field(0.0, ge=0, le=1, description="least share of complete pixels of a training tile")
    max_tiles: int | None = Field(None, ge=1, description="a seeded draw of this many training tiles")
    shuffle_buffer: int | None = Field(None, ge=1, description="tiles in play at a time, so that a shard's tiles are "
                                                               "read near each other (remote or slow disks); none = "
                                                               "a permutation of all")
    extras: tuple[Literal["dem", "embedding", "cloud_score"], ...] = Field(
        (), description="extras of the stores that are further bands of the optical branch, behind Sentinel-2's; they "
                        "go where that branch is hidden or dropped")
    classes: str | None = Field(None, description="class table that labels are turned into, by name or as a YAML file; "
                                                  "none = the stores' own, which must agree")
    share: float = Field(1.0, gt=0, le=1, description="share of the training tiles, a seeded draw stratified by class")
    balance: Literal["none", "biome", "class"] = Field("none", description="draw every biome as often, or tiles of "
                                                                           "rare classes more often")
    statistics_tiles: int = Field(256, ge=1, description="tiles that the band statistics are measured on")
    threads: int = Field(4, ge=1, description="threads that read tiles")
    ahead: int = Field(3, ge=1, description="batches read ahead")


class LossPart(_Part):
    """Focal loss, or RIFT = weighted focal + Tversky (model/losses.py)."""

    name: Literal["focal", "rift"] = Field("focal", description="which loss; focal with gamma 0 and alpha_power 0 is "
                                                                "plain cross entropy")
    gamma: float = Field(2.0, ge=0, description="focus on hard pixels; 0 = cross entropy")
    alpha_power: float = Field(0.5, ge=0, le=1, description="focal: class weight = frequency to the power of -this")
    alpha_largest: float = Field(10.0, ge=1, description="focal: largest ratio between two class weights")
    mix: float = Field(0.5, ge=0, le=1, description="rift: share of the focal part; the rest is Tversky")
    false_positive: float = Field(0.3, ge=0, description="rift: Tversky's price of false alarms")
    false_negative: float = Field(0.7, ge=0, description="rift: Tversky's price of misses")
    exponent: float = Field(1.0, gt=0, description="rift: power of 1 - Tversky index; 1 = plain Tversky")
    weight_power: float = Field(1.0, ge=0, le=1, description="rift: class weight = frequency to the power of -this")
    weight_range: tuple[float, float] = Field((0.2, 5.0), description="rift: bounds of the class weights")


class InitPart(_Part):
    """What a run starts from, and which parts of the network are held still."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str | None = Field(None, alias="from", description="weights to start from: the folder of a run, or a "
                                                               "safetensors file, perhaps of other bands or classes; "
                                                               "none = drawn anew")
    freeze: tuple[str, ...] = Field((), description="parts that are held still, by the beginning of their parameters' "
                                                    "names, such as [optical, radar]")
    probe: bool = Field(False, description="linear probe: hold all but the last, linear layer")
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor on the rate for each stage away from the decoder, "
                                                            "which has the full rate")


class OptimPart(_Part):
    """AdamW and its schedule."""

    epochs: int = Field(200, ge=1, description="passes over the training tiles; a run may be taken up again with "
                                                "more: the rate then is that of the step in a run of that many")
    batch_size: int = Field(4, ge=0, description="samples per process and forward pass; auto (or 0) = as many as the "
                                                 "memory of a GPU holds, found when the run begins and kept with it")
    accumulate: int = Field(1, ge=1, description="forward passes per step; the loss is that of the whole batch")
    lr: float = Field(5e-4, gt=0, description="largest rate")
    min_lr: float = Field(0.0, ge=0, description="rate at the end")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="after the warm-up")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear warm-up")
    weight_decay: float = Field(0.01, ge=0, description="of weights; norms and biases are left alone")
    betas: tuple[float, float] = Field((0.9, 0.999), description="of AdamW")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; none = no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, which are then the ones kept; 0 = off")

    @field_validator("batch_size", mode="before")
    @classmethod
    def _found(cls, value: Any) -> Any:
        return 0 if value == "auto" else value

    def of(self, batch_size: int) -> OptimPart:
        """The same with another batch size."""
        return self.model_copy(update={"batch_size": batch_size})


class RunPart(_Part):
    """How it runs."""

    seed: int = Field(0, description="of weights, order, crops, dropout")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the forward pass; auto = bf16 on CUDA, fp32 on a CPU")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="compile the network that is trained: auto = on CUDA, where a step of one process and one "
                            "forward pass is replayed as CUDA graphs; where compiling fails, one sentence says so. "
                            "Validation and maps run it uncompiled")
    recompute: bool = Field(False, description="keep of a block only what goes into it and work it again in the "
                                               "backward pass: less memory, more time, the same numbers")
    sync_batch_norm: bool = Field(True, description="several processes: batch norms count the samples of all, as one "
                                                   "process with the whole batch would; false = each its own, with "
                                                   "one wait less a layer and pass")
    deterministic: bool = Field(False, description="deterministic kernels on CUDA too, slower")
    patience: int | None = Field(None, ge=1, description="stop after this many validations without a better mIoU")
    validate_every: int = Field(1, ge=1, description="epochs between two validations")
    save_every: int | None = Field(100, ge=1, description="steps between two checkpoints within an epoch, from which "
                                                           "a stopped run goes on; none = at the end of epochs")
    max_bad_steps: int = Field(10, ge=1, description="steps in a row that may be skipped for a loss that is not finite")
    tensorboard: bool = Field(True, description="write TensorBoard events where tensorboard is installed")

    @field_validator("compile", mode="before")
    @classmethod
    def _on_or_off(cls, value: Any) -> Any:
        """YAML reads on and off as true and false; so did earlier builds write it."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class TrainConfig(_Part):
    """Everything that decides a training run, but the stores."""

    model: ModelPart = Field(default_factory=ModelPart)
    data: DataPart = Field(default_factory=DataPart)
    loss: LossPart = Field(default_factory=LossPart)
    optim: OptimPart = Field(default_factory=OptimPart)
    init: InitPart = Field(default_factory=InitPart)
    run: RunPart = Field(default_factory=RunPart)

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


def make_config(values: dict[str, Any], where: str = "config") -> TrainConfig:
    """Check a config.

    Raises
    ------
    InputError
        With the first mistake: where, key, what would be right.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key {key}; {_hint(first['loc'])}") from None
        raise InputError(f"{where}: {key}: {first['msg'].lower()}, found {first['input']!r}") from None


def keys_of(model: type[BaseModel] = TrainConfig, prefix: str = "") -> dict[str, FieldInfo]:
    """Every key of a config with its field, the names of parts before it: ``optim.lr``."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys_of(field.annotation, f"{prefix}{name}.")
        else:
            found[f"{prefix}{field.alias or name}"] = field
    return found


def _hint(location: tuple[int | str, ...]) -> str:
    """What a key that is not known was meant to be: the nearest name, else that of another part, else the part's."""
    key, known = ".".join(map(str, location)), list(keys_of())
    last = str(location[-1])
    if len(location) == 1 and (part := difflib.get_close_matches(key, list(TrainConfig.model_fields), n=1)):
        return f"did you mean {part[0]}"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7) or [k for k in known if k.split(".")[-1] == last]
    near += difflib.get_close_matches(last, [k.split(".")[-1] for k in known], n=1, cutoff=0.7)
    if near:
        full = next(k for k in known if near[0] in (k, k.split(".")[-1]))
        return f"did you mean {full}"
    of_part = [k for k in known if k.startswith(f"{location[0]}.")]
    return f"known keys are {', '.join(of_part or known)}"


def load_config(name: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a config.

    Parameters
    ----------
    name : a shipped config's name, or the path of a YAML file. overrides : nested values that replace the file's.

    Raises
    ------
    InputError
        Where there is none, or it is wrong.
    """
    path = CONFIGS / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise InputError(f"config {name}: no such file; give a YAML file, or one of {shipped}")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {path}: is no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise InputError(f"config {path}: must be a mapping of keys, found {type(values).__name__}")
    return make_config(merged(values, said(overrides or {})), f"config {path}")


def said(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides of a config; a crop among them is the user's own, which gives way to nothing."""
    data = overrides.get("data")
    if isinstance(data, dict) and "crop" in data:
        return {**overrides, "data": {"crop_gives_way": False, **data}}
    return overrides


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts, the second's values winning."""
    out = dict(values)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def parse_override(text: str) -> dict[str, Any]:
    """``optim.lr=1e-3`` as nested dicts.

    Raises
    ------
    InputError
        Where it is not ``key=value``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text}: must be key=value, such as optim.epochs=10")
    try:
        out: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: the value is no YAML") from None
    if isinstance(out, str):
        # YAML 1.1 reads 1e-3, which people write, as text.
        with contextlib.suppress(ValueError):
            out = float(out)
    *outer, last = key.strip().split(".")
    found: dict[str, Any] = {last: out}
    for part in reversed(outer):
        found = {part: found}
    return found


def flat_differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What differs between two nested dicts, as ``key: old -> new``."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += flat_differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
