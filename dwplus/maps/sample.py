"""Points to label: a probability sample of a map, drawn from its class rasters piece by piece.

Every pixel with a class has a known probability of being drawn, and the table says which: ``stratum``,
``stratum_pixels`` and ``stratum_points``, or the ``block`` of a two-stage sample, and ``weight``, the pixels that a
point stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from rasterio.windows import Window

from dwplus.errors import InputError
from dwplus.grid import PixelGrid, transformer
from dwplus.grid.longitude import near
from dwplus.maps import designs
from dwplus.maps.legend import Shown
from dwplus.pages import sheets
from dwplus.runtime.paths import whole
from dwplus.taxonomy import IGNORE

#: Columns of a sample, in their order; ``reference`` is what interpreters fill in.
COLUMNS = ("id", "lon", "lat", "epsg", "x", "y", "map", "stratum", "stratum_pixels", "stratum_points", "block",
           "weight", "ground_pixels", "design", "seed", "reference")
#: Side of the blocks of a two-stage sample, pixels: that of the rasters' own tiles.
BLOCK = 512
#: Points that every class gets where nobody says otherwise.
LEAST = 20


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes
    ----------
    count : points. design, allocation : see :mod:`dwplus.maps.designs`. least : points of each stratum; None takes
    :data:`LEAST`, or of small samples what half of the points give. per_block : points in a block of a two-stage
    sample. expected : (class,) accuracy.
    """

    count: int
    design: str = "stratified"
    allocation: str = "proportional"
    least: int | None = None
    per_block: int = 10
    expected: np.ndarray | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse what can be refused before the map is read.

        Raises
        ------
        InputError
            One sentence.
        """
        if self.design not in designs.DESIGNS:
            raise InputError(f"--design {self.design!r}: must be {', '.join(designs.DESIGNS)}")
        if self.allocation not in designs.ALLOCATIONS:
            raise InputError(f"--allocation {self.allocation!r}: must be {', '.join(designs.ALLOCATIONS)}")
        if self.count < 2:
            raise InputError(f"-n {self.count}: a sample has at least 2 points")
        if self.least is not None and self.least < 2:
            raise InputError(f"--least {self.least}: a stratum needs at least 2 points, one has no scatter")
        if self.design == "two-stage" and (self.per_block < 1 or self.count < 2 * self.per_block):
            raise InputError(f"--per-block {self.per_block}: must be 1 to half of the {self.count} points, so that "
                             "there are at least two blocks")


def draw(shown: Shown, plan: Plan, counts: np.ndarray) -> gpd.GeoDataFrame:
    """Draw points.

    Parameters
    ----------
    counts : (class,) pixels of the map (:meth:`dwplus.maps.legend.Shown.counts`).

    Returns
    -------
    GeoDataFrame of :data:`COLUMNS` in EPSG:4326, in random order: whoever labels the first half has labelled a sample.

    Raises
    ------
    InputError
        Where the map holds fewer pixels than points are asked for.
    """
    plan.check()
    whole = int(counts.sum())
    if whole < plan.count:
        raise InputError(f"-n {plan.count}: map {shown.folder} has {whole} pixels with a class; ask for fewer points")
    rng = np.random.default_rng(plan.seed)
    frame = _two_stage(shown, plan, whole, rng) if plan.design == "two-stage" else _one_stage(shown, plan, counts, rng)
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    lon, lat = _degrees(frame)
    frame = frame.assign(id=[f"{i + 1:0{len(str(len(frame)))}d}" for i in range(len(frame))], lon=lon, lat=lat,
                         map=np.array(shown.names, object)[frame["map"]], ground_pixels=whole, seed=plan.seed,
                         design=plan.design, reference="")
    return gpd.GeoDataFrame(frame[list(COLUMNS)], geometry=gpd.points_from_xy(lon, lat), crs="EPSG:4326")


def _one_stage(shown: Shown, plan: Plan, counts: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Pixels drawn one by one without replacement, of the whole map or of each class."""
    if plan.design == "simple":
        pixels, size, names = np.array([counts.sum()]), np.array([plan.count]), ["all"]
    else:
        expected = np.full(len(counts), designs.EXPECTED) if plan.expected is None else plan.expected
        pixels, names = counts, shown.names
        half = plan.count // (2 * int((counts > 0).sum()))
        least = min(LEAST, max(2, half)) if plan.least is None else plan.least
        size = designs.allocate(counts, plan.count, plan.allocation, least, expected)
    wanted = [np.sort(rng.choice(int(p), int(n), replace=False)) if n else np.zeros(0, int)
              for p, n in zip(pixels, size, strict=True)]
    passed = np.zeros(len(pixels), "int64")
    rows = []
    for grid, found in shown.pieces():
        stratum = np.where(found == IGNORE, IGNORE, 0) if plan.design == "simple" else found
        here = np.bincount(stratum.ravel(), minlength=IGNORE + 1)[:len(pixels)]
        for s in np.flatnonzero(here):
            mine = wanted[s][np.searchsorted(wanted[s], passed[s]):np.searchsorted(wanted[s], passed[s] + here[s])]
            if len(mine):
                taken = np.flatnonzero(stratum.ravel() == s)[mine - passed[s]]
                rows.append(_points(grid, taken, found).assign(
                    stratum=names[s], stratum_pixels=int(pixels[s]), stratum_points=int(size[s]), block="",
                    weight=pixels[s] / size[s]))
        passed += here
    return pd.concat(rows, ignore_index=True)


def _two_stage(shown: Shown, plan: Plan, whole: int, rng: np.random.Generator) -> pd.DataFrame:
    """Blocks drawn with probabilities in proportion to their pixels, with replacement, and in each draw as many pixels:
    every pixel of the map has the same probability."""
    blocks = [(window, int((found != IGNORE).sum())) for window, found in _blocks(shown)]
    sizes = np.array([size for _, size in blocks])
    draws = plan.count // plan.per_block
    drawn = np.sort(rng.choice(len(blocks), draws, p=sizes / sizes.sum()))
    wanted = {int(number): np.flatnonzero(drawn == number) for number in drawn}
    rows = []
    for number, (grid, found) in enumerate(_blocks(shown)):
        for turn in wanted.get(number, ()):
            valid = np.flatnonzero(found.ravel() != IGNORE)
            taken = rng.choice(valid, min(plan.per_block, len(valid)), replace=False)
            rows.append(_points(grid, taken, found).assign(
                stratum="all", stratum_pixels=whole, stratum_points=0, block=f"draw {turn + 1}",
                weight=whole / draws / len(taken)))
    frame = pd.concat(rows, ignore_index=True)
    return frame.assign(stratum_points=len(frame))


def _blocks(shown: Shown) -> Iterator[tuple[PixelGrid, np.ndarray]]:
    """The map in blocks of :data:`BLOCK` pixels from each raster's corner."""
    for path in shown.paths:
        with rasterio.open(path) as raster:
            whole = PixelGrid(raster.crs.to_epsg(), raster.transform.c, raster.transform.f, raster.res[0],
                              raster.height, raster.width)
            for row in range(0, raster.height, BLOCK):
                for col in range(0, raster.width, BLOCK):
                    height, width = min(BLOCK, raster.height - row), min(BLOCK, raster.width - col)
                    yield (whole.block(row, col, height, width),
                           shown.index[raster.read(1, window=Window(col, row, width, height))])


def _points(grid: PixelGrid, pixels: np.ndarray, found: np.ndarray) -> pd.DataFrame:
    """Centres and classes of pixels by their numbers in a piece."""
    row, col = np.divmod(pixels, grid.width)
    return pd.DataFrame({"epsg": grid.epsg, "x": grid.x0 + (col + 0.5) * grid.scale,
                         "y": grid.y0 - (row + 0.5) * grid.scale, "map": found.ravel()[pixels].astype(int)})


def _degrees(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = np.zeros(len(frame)), np.zeros(len(frame))
    for epsg, rows in frame.groupby("epsg"):
        pixels = rows.index.to_numpy()
        lon[pixels], lat[pixels] = transformer(int(epsg), 4326).transform(rows["x"].to_numpy(), rows["y"].to_numpy())
    return near(lon, 0.0), lat


def files_of(path: str | Path) -> tuple[Path, Path, Path]:
    """The table, the GeoPackage and the page of a sample.

    Raises
    ------
    InputError
        For a name that is neither .csv nor .gpkg, or where one of them is there: labels may be in it.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".gpkg"):
        raise InputError(f"-o {path}: must end in .csv or .gpkg; both are written")
    found = path.with_suffix(".csv"), path.with_suffix(".gpkg"), path.with_suffix(".html")
    for one in found:
        if one.exists():
            raise InputError(f"-o {path}: {one} is there, and labels may be in it; choose another name, or remove it")
    return found


def write(frame: gpd.GeoDataFrame, table: Path, package: Path) -> None:
    """Write a sample as CSV and as GeoPackage.

    Raises
    ------
    InputError
        Where one cannot be written.
    """
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        sheets.write_csv(frame.drop(columns="geometry"), table)
        with whole(package) as partial:
            frame.to_file(partial, driver="GPKG", layer="sample")
    except OSError as error:
        raise InputError(f"-o {table}: cannot be written ({error.strerror or error})") from None
