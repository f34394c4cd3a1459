"""No secret in a message, log, plan or store."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dwplus.errors import InputError, scrubbed, scrubbed_values
from dwplus.export.log import Ledger
from dwplus.runtime import console
from dwplus.store.places import place_of

ROOT = Path(__file__).parents[2]
# Put together here, so that no scanner takes this file for a leak.
GOOGLE, AMAZON, TOKEN = "AIza" + "b" * 35, "AKIA" + "C" * 16, "ya29." + "d" * 30


@pytest.mark.parametrize(("text", "secret"), [
    ("http://user:hunter2@127.0.0.1:8080/v1", "hunter2"), ("--world http://u:p@ss:w@h:1/", "p@ss"),
    ("https://only-a-token@host/x", "only-a-token"), ("s3://bucket/a?X-Amz-Signature=abc123&x=1", "abc123"),
    ("https://h/?key=abc&alt=json", "abc"), ("https://h/?alt=json&access_token=abcdef", "abcdef"),
    ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"), ("aws_secret_access_key = abc/def+ghi", "abc/def"),
    ('{"client_secret": "abcdefgh", "a": 1}', "abcdefgh"), ("password: hunter22", "hunter22"),
    ("dwplus export --token abcdef", "abcdef"), (f"key {GOOGLE} refused", GOOGLE), (f"{AMAZON}/2026", AMAZON),
    (f"refused ({TOKEN})", TOKEN),
    ("-----BEGIN PRIVATE KEY-----\nabcdefgh\n-----END PRIVATE KEY-----\n", "abcdefgh")])
def test_secrets_go(text, secret):
    assert secret in text and secret not in scrubbed(text) and "***" in scrubbed(text)
    assert scrubbed(scrubbed(text)) == scrubbed(text)


@pytest.mark.parametrize("text", [
    "", "unknown key: sampling.per_biome must be a number", "store /a/b@c/x.zarr: not there", "key optim.lr=0.001",
    "http://127.0.0.1:8080/v1/projects/p/value:compute", "s3://bucket/prefix", "16 tokens: 12 here", "e-mail a@b.org",
    "spec.yaml: windows.0.start: must be a date", "asset 'projects/p/assets/secret_forest' not found",
    "GOOGLE/DYNAMICWORLD/V1/20210101T000000_20210101T000001_T32UNB"])
def test_all_else_stays(text):
    assert scrubbed(text) == text


def test_the_place_of_an_accounts_file_goes(monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/ann/robot.json")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ab/cd+ef")
    said = scrubbed("cannot read /home/ann/robot.json with ab/cd+ef")
    assert said == "cannot read $GOOGLE_APPLICATION_CREDENTIALS with $AWS_SECRET_ACCESS_KEY"


def test_values_that_are_kept_as_json_hold_none():
    given = {"world": "http://u:hunter2@h", "spec": {"windows": [["2021-01-01", 3]]}, "stores": ["a", "s3://k:v@b"]}
    assert scrubbed_values(given) == {"world": "http://***@h", "spec": {"windows": [["2021-01-01", 3]]},
                                      "stores": ["a", "s3://***@b"]}


def test_errors_lines_and_logs_hold_none(tmp_path, capsys):
    error = InputError("world http://u:hunter2@h: no")
    assert "hunter2" not in str(error) and "hunter2" not in str(pickle.loads(pickle.dumps(error)))
    console.say("at http://u:hunter2@h")
    console.complain("error: http://u:hunter2@h")
    ledger = Ledger(place_of(tmp_path), "run")
    ledger.log("begins at http://u:hunter2@h")
    ledger.attempts([{"tile": "t", "reason": "http://u:hunter2@h"}])
    found = "".join(capsys.readouterr()) + "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert found.count("***@h") == 4 and "hunter2" not in found


def test_a_trace_holds_none():
    program = ("import sys; from dwplus.runtime.console import trace; sys.excepthook = trace\n"
               "raise KeyError('http://u:hunter2@h')")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "KeyError: 'http://***@h'" in done.stderr and "Traceback" in done.stderr
    # The line of the source that raised is shown as it stands; what it was given is not.
    assert "hunter2" not in done.stderr.split("KeyError")[-1]
