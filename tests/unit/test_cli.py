"""The command line: it lists everything, says defaults and choices, loads nothing heavy before a command runs."""

import importlib
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer

from dwplus.cli import COMMANDS, app, flows, options
from dwplus.cli.options import repeated
from tests.commands import PATIENCE

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "xarray", "pandas", "numpy", "ee", "dask", "distributed", "matplotlib", "zarr", "rasterio",
         "geopandas", "shapely")
#: Modules behind which the flows lie, by command.
FLOWS = {"export-region": "export_region", "regenerate": "regenerate", "train": "train", "evaluate": "evaluate",
         "compare": "compare", "explain": "explain", "map": "map_region", "change": "map_change"}


def helps():
    """Every command and group, as words."""
    def below(command, words):
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    return list(below(typer.main.get_command(app), ()))


def dwplus(*words):
    return subprocess.run([sys.executable, "-m", "dwplus", *words], cwd=ROOT, text=True, capture_output=True,
                          timeout=PATIENCE)


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = ("import sys\nfrom dwplus.cli import main\n"
            f"for words in {helps()!r}:\n    sys.argv = ['dwplus', *words, '--help']\n    try:\n        main()\n"
            "    except SystemExit as stop:\n        assert not stop.code, (words, stop.code)\n"
            f"print('LOADED', *sorted(set(sys.modules) & {set(HEAVY)!r}))\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
    first = done.stdout.partition("Commands:")[2]
    listed = set(re.findall(r"^  ([a-z-]+) ", first.partition("Usage:")[0], re.MULTILINE))
    assert {*COMMANDS, "earth", "model"} == listed
    assert "..." not in first.partition("Usage:")[0]  # each line is whole at 80 columns


def test_help_takes_less_than_half_a_second_of_cpu():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert dwplus("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_every_option_says_what_it_is_and_its_default():
    for words in helps():
        command = typer.main.get_command(app)
        for word in words:
            command = command.commands[word]
        for option in command.params:
            if option.param_type_name != "option" or option.name == "help":
                continue
            assert option.help, (words, option.name)
            assert option.default is None or option.show_default or option.is_flag, (words, option.name)


def test_choices_are_those_of_the_flows():
    from dwplus.maps.product import OPTIONS
    from dwplus.store import layout
    from model.networks.registry import NETWORKS

    assert get_args(options.Split) == (*layout.SPLITS, "all")
    assert tuple(flows.Layer) == OPTIONS
    assert flows.NETWORKS.split(", ") == list(NETWORKS)
    assert set(options.SHIPPED.split(", ")) == {path.stem for path in (ROOT / "pipelines/regions").glob("*.yaml")}


def test_lists_of_words_are_repeated_options():
    lists = {"--store", "--set", "--layers", "--seeds"}

    def parsed(text):
        return " ".join(repeated(text.split(), lists))

    assert parsed("--store a b --run r --set x=1 --set y=2") == "--store a --store b --run r --set x=1 --set y=2"
    assert parsed("--store=a b --seeds 0 1") == "--store=a --store b --seeds 0 --seeds 1"
    assert parsed("--region -63,1,2,3 --layers") == "--region -63,1,2,3"
    assert parsed("--store --run r") == "--store --run r"  # for the parser to refuse
    assert parsed("stray --store a") == "stray --store a"


@pytest.mark.parametrize(("words", "said"), [
    (["export-region", "--region", "-63,-10,-62.9,"], "REGION '-63,-10,-62.9,'"),  # a west longitude is no option
    (["trian"], "Did you mean 'train'"),
    (["train", "--modle", "x"], "dwplus train --help"),
    (["evaluate", "--split", "tests"], "'train', 'val', 'test', 'all'"),
    (["evaluate", "--store"], "--store"),
    (["map", "--clouds", "blue"], "'mask', 'keep'"),
    (["map", "--layers", "probabilities", "altitude"], "altitude"),
    (["change", "--before", "a"], "--after"),
    (["regenerate", "--start", "2020-01-01"], "START and END"),
])
def test_mistakes_are_one_sentence(words, said):
    done = dwplus(*words)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error():
    """As after `dwplus keys | head -1`."""
    program = subprocess.Popen([sys.executable, "-m", "dwplus", "keys"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert program.stdout is not None and program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == "" and program.wait(PATIENCE) == 141
    program.stderr.close()


def test_version():
    import dwplus as package

    done = dwplus("--version")
    assert (done.returncode, done.stdout) == (0, f"dwplus {package.__version__}\n")


@pytest.mark.parametrize(("command", "module"), FLOWS.items())
def test_the_old_doors_are_the_commands(command, module):
    """``python -m pipelines.NAME`` takes what ``dwplus NAME`` takes, and each flow is a function with an exit code."""
    assert f'run_command("{command}")' in (ROOT / "pipelines" / f"{module}.py").read_text()
    assert importlib.import_module(f"pipelines.{module}").run.__annotations__["return"] == "int"


def test_an_old_door_opens(tmp_path):
    done = subprocess.run([sys.executable, "-m", "pipelines.evaluate", "--store", "a", "b", "--run", str(tmp_path)],
                          cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 2 and "no such file" in done.stderr, done.stderr


@pytest.mark.parametrize(("variable", "said"), [("REGON=x", "REGION="), ("store=x", "STORE="),
                                                ("EE_PROJCT=x", "EE_PROJECT="), ("XYZZY=1", "make help")])
def test_make_refuses_a_misspelt_variable(variable, said):
    done = subprocess.run(["make", "-n", "help", variable], cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_make_takes_every_variable_it_lists():
    names = re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"REGION", "STORE", "RUN", "SET"} <= set(names)
    done = subprocess.run(["make", "-n", "help", *(f"{name}=python3" for name in names)], cwd=ROOT, text=True,
                          capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
