"""The check of a GPU where there is none, and how busy a device was."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu_check import QUICK, Row, check, covered


@pytest.mark.parametrize(("spans", "share"), [
    ([], 0.0), ([(0, 4)], 1.0), ([(0, 1), (3, 4)], 0.5), ([(3, 4), (0, 2), (1, 2)], 0.75), ([(0, 4), (1, 2)], 1.0)])
def test_busy_is_what_any_span_covers(spans, share):
    assert covered(spans) == share


def test_rows_say_what_was_found():
    assert Row("busy", 0.95, "of the time", 0.96).line == "| busy | 0.96 | 0.95 of the time | met |"
    assert "**missed**" in Row("busy", 0.95, "of the time", 0.5).line
    assert "| open: no history |" in Row("busy", 0.95, "of the time", None, "no history").line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so():
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu_check"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: PyTorch finds no CUDA device here") and done.stderr.count("\n") == 1


def test_every_row_is_measured_or_says_why_not(tmp_path):
    """On small sizes and a CPU, where the busy share is no figure."""
    kept = {}
    images, busy, times = check("cpu", QUICK, True, kept.__setitem__)
    assert images.value > 0 and busy.value is None and busy.reason
    assert json.loads(json.dumps(kept))["step"]["steps"] == 4
    assert (times.value is None) == bool(times.reason) and (times.value is None or times.value > 0)
