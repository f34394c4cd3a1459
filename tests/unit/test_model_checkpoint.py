"""Checkpoints on bad days: full disks, flipped bits, foreign headers; the old file stays, and one sentence says it."""

import json
import os
import resource
import stat
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import model
from dwplus.errors import DwplusError, InputError
from model import checkpoint as checkpoints

OPTIONS = {"s2_bands": 2, "s1_bands": 2, "widths": [4, 8]}
SCALES = {"mean": [0.0, 0.0], "std": [1.0, 1.0], "low": [0.0, 0.0], "high": [1.0, 1.0]}
INFO: dict[str, Any] = {
    "model": {"name": "unet", "options": OPTIONS}, "s2_bands": ["B2", "B3"], "s1_bands": ["VV", "VH"], "epoch": 1,
    "normalisation": {"s2": {"bands": ["B2", "B3"], **SCALES}, "s1": {"bands": ["VV", "VH"], **SCALES}, "tiles": 1}}


def weights(seed=0):
    torch.manual_seed(seed)
    return {f"net.{n}": t for n, t in model.build("unet", **OPTIONS).state_dict().items()}


@pytest.fixture
def path(tmp_path):
    checkpoints.save(tmp_path / "last.safetensors", weights(), INFO)
    return tmp_path / "last.safetensors"


def test_what_is_saved_is_loaded_and_the_one_before_is_kept(path):
    first = path.read_bytes()
    checkpoints.save(path, weights(1), INFO, previous=True)
    assert checkpoints.previous_of(path).read_bytes() == first
    net = checkpoints.load(path).net
    assert all(torch.equal(t, weights(1)[f"net.{n}"]) for n, t in net.state_dict().items())
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.previous.safetensors", "last.safetensors"]


def test_files_have_the_mode_that_files_get_here(tmp_path):
    before = os.umask(0o027)
    try:
        checkpoints.save(tmp_path / "a.safetensors", weights(), INFO)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o640


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(path):
    first, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written") as found:
            checkpoints.save(path, weights(1), INFO, previous=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(found.value)
    assert path.read_bytes() == first and [p.name for p in path.parent.iterdir()] == ["last.safetensors"]


def test_weights_that_are_not_finite_are_not_written(path):
    first, bad = path.read_bytes(), weights(1)
    bad["net.classify.weight"] = torch.full_like(bad["net.classify.weight"], float("nan"))
    with pytest.raises(DwplusError, match=r"net\.classify\.weight is not finite"):
        checkpoints.save(path, bad, INFO)
    assert path.read_bytes() == first


def test_any_flipped_bit_of_the_weights_is_found(path):
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content), (len(content) - start) // 7):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(InputError, match="is damaged"):
            checkpoints.load(path)


def without_digest(path, tensors=None, **info):
    """As an earlier build wrote it."""
    text = json.dumps({"format": 1, **INFO, **info})
    save_file(load_file(path) if tensors is None else tensors, path, metadata={checkpoints.KEY: text})


def test_checkpoints_without_a_digest_load_and_are_looked_at(path):
    without_digest(path)
    with safe_open(path, framework="pt") as file:
        assert set(file.metadata()) == {checkpoints.KEY}
    assert checkpoints.load(path).name == "unet"
    without_digest(path, {n: torch.zeros_like(t) for n, t in weights().items()})
    with pytest.raises(InputError, match="all its weights are zero"):
        checkpoints.load(path)
    nan = weights()
    nan["net.down.0.0.weight"][0, 0, 0, 0] = float("nan")
    without_digest(path, nan)
    with pytest.raises(InputError, match=r"net\.down\.0\.0\.weight is not finite"):
        checkpoints.load(path)


@pytest.mark.parametrize("change", [
    {"model": 3}, {"model": {}}, {"model": {"name": "unet"}}, {"model": {"name": ["unet"], "options": {}}},
    {"model": {"name": "nothing", "options": {}}}, {"model": {"name": "unet", "options": {"widths": "ab"}}},
    {"model": {"name": "unet", "options": {"s2_bands": "two"}}}, {"normalisation": {}}, {"normalisation": None},
    {"normalisation": {"s2": 1, "s1": 2, "tiles": 3}}, {"s2_bands": None}, {"s2_bands": ["B2"]}, {"epoch": "one"},
    {"normalisation": {**INFO["normalisation"], "s1": {**INFO["normalisation"]["s1"], "std": [1.0]}}}], ids=str)
def test_bad_headers_are_one_sentence(path, change):
    without_digest(path, **change)
    with pytest.raises(InputError) as found:
        checkpoints.load(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"x" * 40, (2**60).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7) + b"{}"])
def test_other_files_are_one_sentence(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no checkpoint of this project"):
        checkpoints.load(path)
