"""Specs of YAML files and of mappings, and what two specs differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dwplus.errors import InputError
from dwplus.runtime.yaml_text import read_yaml
from dwplus.spec.base import as_list
from dwplus.spec.dataset import DatasetSpec
from dwplus.spec.problems import first_problem


def load_spec(path: str | Path, overrides: dict[str, Any] | None = None) -> DatasetSpec:
    """Read a spec from YAML.

    Parameters
    ----------
    path : the YAML file; region files and the folder of annotations are taken relative to its folder.
    overrides : top-level keys that replace those of the file.

    Raises
    ------
    InputError
        One sentence with the file, the key and what would be right.
    """
    path = Path(path)
    raw = read_yaml(path, "a spec is a YAML file, see pipelines/regions")
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a spec is a mapping of keys such as name, region and windows, "
                         f"found {type(raw).__name__}")
    raw = {**raw, **(overrides or {})}
    labels = raw.get("labels")
    if isinstance(labels, dict) and isinstance(labels.get("path"), str):
        raw["labels"] = {**labels, "path": str(path.parent / labels["path"])}
    if "region" in raw:
        raw["region"] = [_resolved(part, path.parent) for part in as_list(raw["region"])]
    return make_spec(raw, str(path))


def _resolved(part: Any, folder: Path) -> Any:
    if isinstance(part, dict) and isinstance(part.get("file"), str):
        return {**part, "file": str(folder / part["file"])}
    return part


def make_spec(raw: dict[str, Any], where: str = "spec") -> DatasetSpec:
    """Validate a mapping; problems name ``where`` and the key."""
    try:
        return DatasetSpec.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, DatasetSpec)}") from None


def differences(one: BaseModel, other: BaseModel) -> list[str]:
    """The keys in which two specs differ, or those of two imports, as ``key: old -> new``."""
    def flat(value: Any, prefix: str = "") -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, item in value.items()
                    for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}
        return {prefix: value}

    a, b = flat(one.model_dump(mode="json")), flat(other.model_dump(mode="json"))
    return [f"{key}: {a.get(key)} -> {b.get(key)}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
