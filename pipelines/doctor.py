"""Is this machine ready? One check per line, each with what was found and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dwplus.errors import DwplusError, InputError
from dwplus.runtime.console import EXTRAS, absent

if TYPE_CHECKING:
    from dwplus.earth import Session

State = Literal["ok", "warn", "fail"]
#: Bytes of an exported tile of 510x510 px, as measured in BENCHMARKS.md.
TILE_BYTES = 3.7e6
#: Free tiles below which a disk is small, and below which not even a shard of each biome fits.
FEW_TILES, TOO_FEW_TILES = 1000, 14 * 16


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, what was found, and what to do where it is not ok."""

    name: str
    state: State
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:<5}{self.name:<13}{self.found}{f'; {self.advice}' if self.advice else ''}"


def examine(project: str | None = None, world: str | None = None, store: str | None = None,
            scenes: str | None = None) -> list[Check]:
    """Look at this machine, and at the service where a project is given.

    Parameters
    ----------
    project : Google Cloud project; None asks the embedded Earth.
    world : asset tree, or URL of a running embedded Earth.
    store : folder or URL of a store, or the folder where one is to be made; None = ``data``.
    scenes : a plan, or a folder of annotated tiles, whose scenes' names are held against the satellites' orbits.
    """
    place = store or "data"
    checks: list[Callable[[], list[Check]]] = [
        lambda: [_python()], lambda: [_packages()], lambda: [_extras()], lambda: [_gpu()],
        lambda: [_disk(place)] if "://" not in place else [],
        lambda: [_store(place)], lambda: [_client(project)], lambda: [_credentials(project)],
        lambda: _earth(project, world), lambda: [] if scenes is None else [_scenes(Path(scenes))]]
    return [found for check in checks for found in check()]


def _python() -> Check:
    wanted = SpecifierSet(str(importlib.metadata.metadata("dwplus")["Requires-Python"]))
    found = f"{platform.python_version()} on {platform.system()} ({platform.machine()})"
    if not wanted.contains(platform.python_version(), prereleases=True):
        return Check("python", "fail", found, f"install Python {wanted}")
    if platform.system() != "Linux":
        return Check("python", "warn", found, "only Linux is tested")
    return Check("python", "ok", found)


def _packages() -> Check:
    needed = [Requirement(text) for text in importlib.metadata.requires("dwplus") or []]
    wrong = []
    for need in needed:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{need.name} is missing")
            continue
        if not need.specifier.contains(version, prereleases=True):
            wrong.append(f"{need.name} {version} is not {need.specifier}")
    dwplus = f"dwplus {importlib.metadata.version('dwplus')}"
    if wrong:
        return Check("packages", "fail", f"{dwplus}, {', '.join(wrong)}", f"run `{sys.executable} -m pip install -e .`")
    return Check("packages", "ok", f"{dwplus} and all it requires")


def _extras() -> Check:
    lacking = [extra for extra in EXTRAS if absent(extra)]
    there = [extra for extra in EXTRAS if extra not in lacking]
    found = f"{', '.join(there) or 'none'} installed"
    if lacking:
        return Check("extras", "ok", f"{found}, {', '.join(lacking)} absent",
                     f"where you want them, pip install 'dwplus[{','.join(lacking)}]'")
    return Check("extras", "ok", found)


def _gpu() -> Check:
    if "torch" in absent("train"):
        return Check("gpu", "ok", 'not looked for; only the extra "train" uses one, and it is absent')
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return Check("gpu", "ok", ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards))
    if shutil.which("nvidia-smi"):
        return Check("gpu", "warn", f"there is a driver, but torch {torch.__version__} finds no GPU",
                     "install torch's CUDA build: see https://pytorch.org/get-started/locally")
    return Check("gpu", "warn", "none", "data sets need none; training takes a small network, on the CPU")


def _scenes(path: Path) -> Check:
    """Whether satellites can have made the scenes that a plan or annotated tiles name."""
    from dwplus.scenes.annotated import read_folder
    from dwplus.scenes.orbits import warning
    from dwplus.scenes.records import slices_in

    try:
        if path.is_dir():
            what, names = "Sentinel-2 products", [tile.product for tile in read_folder(path) if tile.product]
        else:
            from dwplus.planning.plan import read_plan

            what = "Sentinel-1 scenes"
            plan = read_plan(path)
            names = slices_in(*(plan[name] for name in ("s1_id", "speckle_ids") if name in plan))
    except DwplusError as error:
        return Check("scenes", "fail", str(error))
    doubts = warning(names, what)
    if doubts is not None:
        return Check("scenes", "warn", doubts, "take the names from the archive: invented ones match nothing there")
    return Check("scenes", "ok", f"{path}: {len(set(names))} {what}, each where its satellite was")


def _parent(place: Path) -> Path:
    """The nearest folder above a place that is there."""
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _disk(place: str) -> Check:
    folder = _parent(Path(place).absolute())
    free = shutil.disk_usage(folder).free
    tiles = int(free / TILE_BYTES)
    found = f"{free / 1e9:.1f} GB free at {folder}, room for about {tiles:,} tiles"
    if tiles < TOO_FEW_TILES:
        return Check("disk", "fail", found, "make room, or give another place with --store")
    return Check("disk", "warn" if tiles < FEW_TILES else "ok", found)


def _store(place: str) -> Check:
    if "://" in place:
        return _remote_store(place)
    path = Path(place)
    if path.exists() and not path.is_dir():
        return Check("store", "fail", f"{place} is a file", "give a folder")
    if (path / "zarr.json").exists():
        from dwplus.store.summary import summarise

        try:
            return Check("store", "ok", f"{place}: {summarise(path).line}")
        except InputError as error:
            return Check("store", "fail", str(error), f"run `dwplus verify {place}`, or give another place")
    folder = _parent(path.absolute())
    if folder == path.absolute() and path.suffix == ".zarr" and any(path.iterdir()):
        return Check("store", "fail", f"{place} is no store: it has no zarr.json", "give the folder of a store")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".dwplus-doctor-") as file:
            file.write(b"0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check("store", "fail", f"{folder} cannot be written ({error.strerror or error})",
                     "make it writable, or give another place with --store")
    return Check("store", "ok", f"{place}: a store can be made here")


def _remote_store(url: str) -> Check:
    from dwplus.store.layout import open_root

    try:
        version = open_root(url).attrs["dwplus_version"]
    except InputError as error:
        return Check("store", "fail", str(error), "check the address, and the credentials of the bucket")
    return Check("store", "ok", f"{url}: can be read, made by dwplus {version}")


def _client(project: str | None) -> Check:
    """The client brings what the embedded Earth is made of; the service needs none of it."""
    from dwplus.earth.session import check_embedded

    version = f"earthengine-api {importlib.metadata.version('earthengine-api')}"
    try:
        check_embedded()
    except InputError as error:
        return Check("client", "warn" if project else "fail", f"{version}: {error}")
    return Check("client", "ok", f"{version}, with the list of functions that the embedded Earth is made of")


def _credentials(project: str | None) -> Check:
    from dwplus.earth.access import stored_credentials

    advice = ("run `earthengine authenticate`, or point GOOGLE_APPLICATION_CREDENTIALS at the key of a service account")
    try:
        found = stored_credentials()
    except InputError as error:
        return Check("credentials", "fail" if project else "warn", str(error), advice)
    if found:
        return Check("credentials", "ok", found)
    if project:
        return Check("credentials", "fail", "none for Earth Engine", advice)
    return Check("credentials", "ok", "none for Earth Engine, and none needed without a project")


def _earth(project: str | None, world: str | None) -> list[Check]:
    """The Earth answers; a project's registration and quota."""
    from dwplus.earth import connect, limits
    from dwplus.earth.access import ping, project_config

    name = "project" if project else "earth"
    try:
        session = connect(project, world)
        seconds = ping(session)
    except DwplusError as error:
        # The message says what to do.
        return [Check(name, "fail", str(error))]
    checks = [Check(name, "ok", f"{session.description}: answers in {seconds:.2f} s")]
    if project:
        try:
            said = ", ".join(f"{key} {value}" for key, value in sorted(project_config(session).items())
                             if key != "name")
        except DwplusError as error:
            checks.append(Check("quota", "warn", f"the service does not say ({error})"))
        else:
            checks.append(Check(
                "quota", "ok", f"{said or 'nothing said by the service'}; we send at most "
                f"{limits.CONCURRENT_REQUESTS} requests at once, {limits.REQUESTS_PER_SECOND} a second; compute used "
                "this month is shown at https://console.cloud.google.com/earth-engine"))
        checks.append(_cost(session))
    return checks


def _cost(session: Session) -> Check:
    """What a tile and a look-up cost on the service, by their profiles."""
    from dwplus.earth import limits
    from dwplus.planning.measure import sample_cost

    try:
        tile, lookup = sample_cost(session)
    except DwplusError as error:
        return Check("cost", "warn", f"not measured ({error})", "plan with --measure to profile a tile of your own")
    tiles = {name: int(hours * 3600 / max(tile, 1e-9)) for name, hours in limits.TIERS.items()}
    return Check("cost", "ok", f"a tile of 510 x 510 px took {tile:.3g} EECU-s, the look-up of a place {lookup:.3g}; "
                 "a month's compute is enough for about "
                 + ", ".join(f"{count:,} such tiles ({name})" for name, count in tiles.items()))
