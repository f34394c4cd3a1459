"""The tools that are compared: where each one comes from, how it was tuned, and what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Environments of the peers, one each.
VENVS = ROOT / ".venv-peers"
DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True)
class Tool:
    """One way to use one tool.

    Attributes
    ----------
    name : for the command line. title : for people.
    driver : ``drivers/with_<driver>.py``.
    requirement : for pip, the package itself first; empty where our own environment serves.
    at_once : tiles at once, the best of those tried (``--tune``).
    tuning : how it is used, and what it cannot do.
    same_grid : whether it delivers the tile's own grid and bands; one that does not is no measure for the bars.
    rounds : runs to take the median of.
    """

    name: str
    title: str
    driver: str
    requirement: str
    at_once: int
    tuning: str
    same_grid: bool = True
    rounds: int = 1

    @property
    def venv(self) -> Path:
        """Its environment."""
        return VENVS / self.driver

    @property
    def python(self) -> Path:
        """The interpreter that runs its driver."""
        return self.venv / "bin" / "python" if self.requirement else Path(sys.executable)

    def command(self, job: Path, url: str, out: Path, at_once: int | None = None) -> list[str]:
        """A command line of its driver."""
        return [str(self.python), str(DRIVERS / f"with_{self.driver}.py"), str(job), url, str(out),
                str(at_once or self.at_once)]

    def install(self) -> str:
        """Make its environment unless it is there.

        Returns
        -------
        Why it cannot be installed; empty when it can.
        """
        if not self.requirement or (self.venv / ".ready").exists():
            return ""
        print(f"installing {self.requirement} into {self.venv}", flush=True)
        for command in ([sys.executable, "-m", "venv", str(self.venv)],
                        [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                         *self.requirement.split()]):
            done = subprocess.run(command, text=True, capture_output=True)
            if done.returncode:
                said = (done.stderr + done.stdout).strip().splitlines()
                lines = [line for line in said if "ERROR" in line] or said or ["it says nothing"]
                return f"not installed: {lines[-1].removeprefix('ERROR: ')}"
        (self.venv / ".ready").touch()
        return ""

    def version(self) -> str:
        """Of the installed package, as its own environment has it."""
        package = self.requirement.split(" ")[0] or ("dwplus" if self.driver == "dwplus" else "earthengine-api")
        question = f"import importlib.metadata as m; print(m.version('{package}'))"
        done = subprocess.run([str(self.python), "-c", question], text=True, capture_output=True)
        return done.stdout.strip() or "this tree"


TOOLS = (
    Tool("floor", "bare requests to .npy", "floor", "", 40,
         "threads, raw, nothing compressed, checked or paired", rounds=3),
    Tool("dwplus", "dwplus export", "dwplus", "", 1, "defaults", rounds=3),
    Tool("xee", "xee in threads", "xee", "xee zarr", 32,
         "a pool of ours around it; the whole tile in one chunk, `to_zarr` of each tile; a request for each band"),
    Tool("geedim", "geedim", "geedim", "geedim", 1,
         "largest pieces (32 MB): one download a tile, one tile after the other: its event loop serves one image; one "
         "type for all bands (int32)"),
    Tool("geedim-processes", "geedim in processes", "geedim", "geedim", 8,
         "the same with processes of ours around it"),
    Tool("edown", "edown", "edown", "edown", 16,
         "takes collections, not images: three files on grids of their own, Sentinel-2 on that of its first band (B1, "
         "60 m), masked pixels 0; so it does less, and right means the labels only", same_grid=False),
    Tool("geebeam", "geebeam", "geebeam", "geebeam", 16,
         "one Beam pipeline after the other for each image and projection, local runner with threads, GeoTIFF; one "
         "type for all bands (int32)"),
    Tool("url", "download URLs, one by one", "url", "", 1, "as MMEarth-data does it; one type for all bands (int32)"),
)
