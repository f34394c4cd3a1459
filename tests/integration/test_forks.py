"""Forks in place of processes (tests/forks.py) answer as Python does, start clean, and end with who asked."""

import os
import subprocess
import time

import psutil
import pytest

from tests.commands import PATIENCE

STATE = """
import os, sys
print(os.getcwd(), os.environ["WORD"], *sys.argv[1:])
print(len(os.listdir("/proc/self/task")), "torch" in sys.modules, "dwplus" in sys.modules)
print("a word", file=sys.stderr)
sys.exit(3)
"""


def test_folder_environment_arguments_streams_and_code(quick_python, tmp_path):
    """A fork has one thread, the libraries, and nothing of ours."""
    done = subprocess.run([quick_python, "-c", STATE, "first", "second"], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "WORD": "given"}, timeout=PATIENCE)
    assert done.stdout.splitlines() == [f"{tmp_path} given first second", "1 True False"]
    assert (done.returncode, done.stderr) == (3, "a word\n")


@pytest.mark.parametrize(("arguments", "text", "words"), [
    (["-"], "import sys; print(sys.path[0] == '', 6 * 7)", "True 42"),
    (["-m", "json.tool", "--compact"], "{\"a\":  1}", "{\"a\":1}"),
    (["program.py", "x"], "", "program.py x")])
def test_programs_from_everywhere(quick_python, tmp_path, arguments, text, words):
    (tmp_path / "program.py").write_text("import sys\nprint(*sys.argv)\n")
    done = subprocess.run([quick_python, *arguments], cwd=tmp_path, text=True, input=text, capture_output=True,
                          timeout=PATIENCE)
    assert (done.returncode, done.stdout.strip()) == (0, words), done.stderr


def test_what_goes_wrong_is_seen(quick_python):
    done = subprocess.run([quick_python, "-c", "import nothing_of_the_kind"], text=True, capture_output=True,
                          timeout=PATIENCE)
    assert done.returncode == 1 and done.stderr.endswith("ModuleNotFoundError: No module named 'nothing_of_the_kind'\n")
    done = subprocess.run([quick_python, "-c", "import os; os.abort()"], capture_output=True, timeout=PATIENCE)
    assert done.returncode == -6


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_ends_with_who_asked(quick_python):
    with subprocess.Popen([quick_python, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(999)"],
                          text=True, stdout=subprocess.PIPE) as asked:
        assert asked.stdout is not None
        fork = int(asked.stdout.readline())
        assert fork != asked.pid and alive(fork)
        asked.kill()
    deadline = time.monotonic() + PATIENCE
    while alive(fork):
        assert time.monotonic() < deadline
        time.sleep(0.02)
