"""What a plan will give and cost, before any pixel is fetched: as lines of text, and as a map. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from dwplus.earth import limits
from dwplus.earth.bundles import band_sizes, requests_of
from dwplus.earth.cost import EECU_PER_SECOND
from dwplus.errors import InputError
from dwplus.errors.reasons import Reason, meaning
from dwplus.pages import colours, skeleton
from dwplus.planning.plan import spec_of, summary
from dwplus.planning.plan_map import write_page
from dwplus.scenes.orbits import warning
from dwplus.scenes.records import slices_in
from dwplus.spec import DatasetSpec
from dwplus.spec.radar import RTC_METRES, passes, share
from dwplus.splits import missing, missing_words
from dwplus.taxonomy import BIOMES, CLASSES, STRATUM_NAMES

if TYPE_CHECKING:
    import geopandas as gpd

#: Days under which the pairing rate is said.
RATE_DAYS = (1, 3, 6, 12)
#: Assumed seconds that the service works on a tile: a fixed part, and a part per million pixels it reads (bands times
#: scenes). Unmeasured: the service tells nobody what a request cost, see :data:`dwplus.earth.cost.EECU_PER_SECOND`.
SECONDS_PER_REQUEST, SECONDS_PER_MEGAPIXEL = 1.0, 0.1
#: Column of a plan that ``dwplus plan --measure`` writes: EECU-seconds of a tile.
MEASURED = "eecu_seconds"
#: Share of the raw bytes that a store takes: 2.76 of 6.55 MB a tile of 512 x 512 (10 + 2 + 1 bands), as measured for
#: the design.
PACKED = 0.42
#: The same of embeddings, whose bits are mostly noise: measured on the sample planet, int8 and float16 alike.
PACKED_EMBEDDING = 0.9
#: Tiles of the published Dynamic World+.
PUBLISHED = {"dynamic-world-plus": (16_893, 299)}


@dataclass(frozen=True)
class Cost:
    """What an export of a plan takes.

    Attributes
    ----------
    tiles, requests : counts.
    raw_bytes : pixels as they are sent; store_bytes : as they lie in the store.
    request_seconds : the service's work, all together, as assumed.
    measured : EECU-seconds by the plan's own column, which ``plan --measure`` writes; None where nothing was measured.
    """

    tiles: int
    requests: int
    raw_bytes: int
    store_bytes: int
    request_seconds: float
    measured: float | None = None

    @property
    def eecu_hours(self) -> float:
        """EECU-hours: measured, else assumed."""
        seconds = self.request_seconds * EECU_PER_SECOND if self.measured is None else self.measured
        return seconds / 3600

    @property
    def hours(self) -> float:
        """At the quota: the rate of requests, or the places in flight, whichever takes longer."""
        return max(self.requests / limits.REQUESTS_PER_SECOND, self.request_seconds / limits.CONCURRENT_REQUESTS) / 3600


def cost(plan: gpd.GeoDataFrame, spec: DatasetSpec) -> Cost:
    """Cost of a plan's export."""
    planned = plan[plan["state"] == "planned"]
    base, alike = band_sizes(spec)
    raw = requests = 0
    packed = 0.0
    pixels = 0.0 if planned.empty else float(megapixels(planned, spec).sum())
    for size, rows in planned.groupby("size"):
        side = int(size)
        requests += len(rows) * requests_of(spec, side)
        raw += len(rows) * side ** 2 * sum([*base, *alike])
        packed += len(rows) * side ** 2 * (PACKED * sum(base) + PACKED_EMBEDDING * sum(alike))
    return Cost(len(planned), requests, raw, round(packed),
                requests * SECONDS_PER_REQUEST + pixels * SECONDS_PER_MEGAPIXEL, measured_seconds(plan))


def megapixels(planned: pd.DataFrame, spec: DatasetSpec) -> pd.Series:
    """Million pixels that each planned tile reads: its own, times bands and scenes, and heights once where slopes are
    looked at; of bursts of RTC-S1 as many as their pixels of 30 m are. What is computed of them is not counted."""
    radar, finer = spec.sentinel1, 1.0
    slices = planned["s1_id"].str.count(",") + 1
    beside = int(radar.keep_angle or radar.sloped)  # the angle
    if radar.product == "rtc":  # its mask, and bands of its static layers
        beside = 1 + radar.keep_angle + ("local_incidence" in radar.keep)
        finer = min(1.0, (spec.tile.scale / RTC_METRES) ** 2)
    backscatter = slices * (2 + beside) * finer + 2 * _further_slices(planned, spec) + radar.sloped
    labels = (planned["label_id"].str.count(",") + 1) * (spec.labels.path is None)
    optical = len(spec.sentinel2.bands) + len(spec.triplet_sizes) + sum(len(e.wire_bands) for e in spec.extra_arrays)
    found: pd.Series = planned["size"].astype("float64") ** 2 * (optical + backscatter + labels) / 1e6
    return found


def _further_slices(planned: pd.DataFrame, spec: DatasetSpec) -> pd.Series:
    """Slices of further passes that each planned tile reads, for a filter over time."""
    if not spec.sentinel1.multitemporal:
        return pd.Series(0, planned.index)
    found: pd.Series = planned["speckle_ids"].str.count("[,;]") + (planned["speckle_ids"] != "")
    return found


def measured_seconds(plan: pd.DataFrame) -> float | None:
    """EECU-seconds of all planned tiles by the column that ``plan --measure`` writes; None where it is not there."""
    if MEASURED not in plan:
        return None
    values = pd.to_numeric(plan.loc[plan["state"] == "planned", MEASURED], errors="coerce")
    return None if values.empty or values.isna().any() else float(values.sum())


def preview(plan: gpd.GeoDataFrame, budget: float | None = None) -> list[str]:
    """Lines for people: tiles by biome and year, pairing rates, gaps, rejects, cost.

    Parameters
    ----------
    budget : EECU-hours to compare the cost with.
    """
    spec = spec_of(plan)
    planned = plan[plan["state"] == "planned"]
    counts = passes(plan)
    lines = [*_by_biome(planned), "", *_rates(plan, spec), *([] if counts is None else [share(*counts)]), "",
             *_histogram(planned)]
    if spec.triplets is not None:
        lines += ["", *_by_stratum(planned)]
    lines += _splits(planned)
    rejected = summary(plan)["rejected"]
    assert isinstance(rejected, dict)
    if rejected:
        lines += ["", "rejected"]
        lines += [f"  {count:>8}  {reason}: {meaning(reason)}" for reason, count in rejected.items()]
    fallen = planned.loc[planned["s2_product"].eq("toa") & (spec.sentinel2.product == "sr")]
    other = planned["s2_match"].isin(["sensing", "date"])
    if len(fallen) or other.any():
        found = planned["s2_match"].value_counts()
        lines += ["", f"Sentinel-2 not by the label's id: {found.get('sensing', 0)} by sensing and granule, "
                      f"{found.get('date', 0)} by date; L1C in place of L2A: {len(fallen)}"]
    doubts = warning(slices_in(*(planned[name] for name in ("s1_id", "speckle_ids") if name in planned)),
                     "Sentinel-1 scenes")
    if doubts is not None:
        lines += ["", f"warning: {doubts}"]
    lines += ["", *_cost_lines(cost(plan, spec), budget)]
    lines += _work_lines(planned, spec)
    if spec.name in PUBLISHED:
        training, test = PUBLISHED[spec.name]
        held_out = int((planned["label_set"] == "validation").sum())
        lines += ["", f"published {spec.name}: {training:,} training and {test:,} test tiles; this plan: "
                      f"{len(planned) - held_out:,} of the training sets and {held_out:,} of the validation set"]
    return lines


def _by_biome(planned: pd.DataFrame) -> list[str]:
    years = planned["s2_time"].dt.year
    table = pd.crosstab(planned["biome"], years)
    lines = [f"{'tiles by biome and year':<60}" + "".join(f"{year:>8}" for year in table.columns) + f"{'all':>8}"]
    for biome, counts in table.iterrows():
        number = int(biome)
        name = f"{number:2d} {BIOMES[number]}"
        lines.append(f"{name:<60}" + "".join(f"{n:>8}" for n in counts) + f"{counts.sum():>8}")
    return [*lines, f"{'all':<60}" + "".join(f"{n:>8}" for n in table.sum()) + f"{len(planned):>8}"]


def _splits(planned: pd.DataFrame) -> list[str]:
    """What a split lacks: biomes, and classes where planning looked at the labels (``sampling.strategy: stratified``,
    annotations); without pixels nobody knows the classes."""
    table, rated = planned[["biome"]].copy(), planned["strata"].astype(str)
    known = bool((rated != "").all())
    if known:
        for number, name in enumerate(CLASSES):
            table[f"count_{name}"] = (rated.str[number] != "-").astype(int).to_numpy()
    found = missing_words(missing(table, planned["split"].astype(str).tolist()))
    if not found:
        return []
    unknown = "" if known else "; which classes are missing is not known before the export"
    return ["", *found, "dwplus split STORE --stratify class, after the export, deals every class and biome "
            f"out{unknown}"]


def _by_stratum(planned: pd.DataFrame) -> list[str]:
    """Triplets by biome and stratum of cloud, and how near their parts are."""
    table = pd.crosstab(planned["biome"], planned["stratum"]).reindex(columns=range(len(STRATUM_NAMES)), fill_value=0)
    lines = [f"{'triplets by biome and cloud over the tile':<60}" + "".join(f"{name:>8}" for name in STRATUM_NAMES)
             + f"{'all':>8}"]
    for biome, counts in table.iterrows():
        name = f"{int(biome):2d} {BIOMES[int(biome)]}"
        lines.append(f"{name:<60}" + "".join(f"{n:>8}" for n in counts) + f"{counts.sum():>8}")
    lines.append(f"{'all':<60}" + "".join(f"{n:>8}" for n in table.sum()) + f"{len(planned):>8}")
    days = planned["label_gap_hours"].abs() / 24
    return [*lines, f"label's clear scene: median {days.median():.1f} d from the clouded one, max {days.max():.1f} d"]


def pairing_rates(plan: pd.DataFrame) -> dict[int, float]:
    """Share of the tiles with a label and a Sentinel-2 scene whose |gap| is at most so many days, by days."""
    tried = (plan["state"] == "planned") | plan["reason"].isin(
        [Reason.NO_S1, Reason.S1_PARTIAL, Reason.NO_RTC, Reason.FEW_PASSES])
    gaps = plan.loc[plan["state"] == "planned", "gap_hours"].abs()
    return {days: float((gaps <= 24 * days).sum() / max(1, tried.sum())) for days in RATE_DAYS}


def _rates(plan: pd.DataFrame, spec: DatasetSpec) -> list[str]:
    reach = spec.sentinel1.max_gap_hours
    if spec.sentinel1.policy == "mean":
        counts = plan.loc[plan["state"] == "planned", "s1_count"]
        return [f"Sentinel-1: mean of all passes within {reach / 24:g} days, {int(counts.min())} to "
                f"{int(counts.max())} passes a tile, {counts.mean():.0f} on average"]
    parts = [f"{rate:.1%} within {days} d" if 24 * days <= reach else f"{days} d not searched"
             for days, rate in pairing_rates(plan).items()]
    return [f"tiles paired with Sentinel-1 (searched up to {reach / 24:g} d): {', '.join(parts)}"]


def _histogram(planned: pd.DataFrame) -> list[str]:
    gaps = planned["gap_hours"].to_numpy("float64")
    reach = max(24.0, float(np.abs(gaps).max()))
    # Whole days where that gives few bars, else a dozen bars or so.
    step = 24 * max(1, math.ceil(reach / 24 / 8))
    last = math.ceil(reach / step)
    counts, edges = np.histogram(gaps, np.arange(-last, last + 1) * step)
    width = max(1, counts.max())
    lines = [f"gap S1 - S2, hours (median |gap| {np.median(np.abs(gaps)):.1f}, mean {np.abs(gaps).mean():.1f})"]
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        lines.append(f"  {low:>+7.0f} to {high:>+6.0f} {count:>8}  {'#' * round(40 * count / width)}".rstrip())
    return lines


def _cost_lines(found: Cost, budget: float | None) -> list[str]:
    lines = [
        f"export: {found.tiles:,} tiles, {found.requests:,} requests, {found.raw_bytes / 1e9:.2f} GB of pixels, about "
        f"{found.store_bytes / 1e9:.2f} GB on disk",
        f"{'estimated' if found.measured is None else 'measured'} {found.eecu_hours:.2g} EECU-hours and, at the quota "
        f"({limits.CONCURRENT_REQUESTS} requests in flight, {limits.REQUESTS_PER_SECOND} a second), "
        f"{_duration(found.hours)}"]
    if found.measured is None:
        lines.append(
            f"  assumed, not measured on the service: {SECONDS_PER_REQUEST:g} s a request and "
            f"{SECONDS_PER_MEGAPIXEL:g} s per million pixels read (bands x scenes), {EECU_PER_SECOND:g} EECU-second "
            "per second; --measure profiles a tile")
    else:
        lines.append("  compute measured by the profile of one tile, in proportion to the pixels read; time assumed: "
                     f"{SECONDS_PER_REQUEST:g} s a request and {SECONDS_PER_MEGAPIXEL:g} s per million pixels read")
    lines.append("  of a month's compute without payment: " + ", ".join(
        f"{_share(found.eecu_hours / hours)} of {hours:,} EECU-hours ({tier})" for tier, hours in limits.TIERS.items()))
    if budget is not None:
        share = found.eecu_hours / budget
        some = math.floor(found.tiles / max(share, 1e-12))
        fits = "fits" if share <= 1 else f"exceeds it: about {some:,} of {found.tiles:,} tiles fit"
        lines.append(f"budget of {budget:g} EECU-hours: {share:.0%} of it, {fits}")
    return lines


def _work_lines(planned: pd.DataFrame, spec: DatasetSpec) -> list[str]:
    """What the figures count of slopes, filters and extras, and what they do not."""
    radar, lines = spec.sentinel1, []
    if radar.sloped:
        lines.append(f"  slopes: heights of {spec.elevation} are read once a tile")
    if radar.multitemporal:
        slices, passes = _further_slices(planned, spec), planned["speckle_ids"].str.count(";") + 1
        lines.append(f"  speckle multitemporal: {passes.mean():.1f} further passes a tile ({slices.mean():.1f} slices, "
                     "VV and VH) are read in the same request")
    if radar.sloped or radar.speckle != "none":
        lines.append("  counted are pixels read; what slopes and filters compute of them on the service is in no "
                     "assumed figure, only in those of --measure")
    if spec.extras:
        requests = requests_of(spec, spec.tile.size)
        lines.append(f"  extras: {', '.join(spec.extras)}; {requests} request(s) a tile of {spec.tile.size} px"
                     + _why_several(spec) * (requests > 1))
    return lines


def _why_several(spec: DatasetSpec) -> str:
    """Why a tile with extras is not one request, and what would make it one."""
    base, alike = band_sizes(spec)
    side = math.isqrt(limits.PIXEL_BYTES // limits.pixel_bytes(1, 1, [*base, *alike]))
    packed = spec.model_copy(update={"store": spec.store.model_copy(update={"embedding_dtype": "int8"})})
    ways = ["store.embedding_dtype int8"] * (requests_of(packed, spec.tile.size) == 1)
    return (f", for one holds at most {limits.PIXEL_BYTES / 2**20:g} MiB: "
            f"{' or '.join([*ways, f'a tile.size of at most {side}'])} makes it one")


def _share(share: float) -> str:
    return f"{share:,.1f} times the whole" if share > 1 else f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _duration(hours: float) -> str:
    return f"{hours * 3600:.0f} s" if hours < 1 / 60 else f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def check_map(path: str | Path) -> None:
    """Refuse a map's file name before the work begins.

    Raises
    ------
    InputError
        Where it does not end in ``.html`` or ``.png``.
    """
    if Path(path).suffix not in (".html", ".png"):
        raise InputError(f"--map {path}: must end in .html or .png")


def write_map(plan: gpd.GeoDataFrame, path: str | Path) -> None:
    """Write a map of a plan: ``.html``, a page that needs no network, or ``.png``.

    Raises
    ------
    InputError
        As :func:`check_map`, and for a place that cannot be written.
    """
    path = Path(path)
    check_map(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (write_page if path.suffix == ".html" else _png)(plan, path)
    except OSError as error:
        raise InputError(f"map {path}: cannot be written ({error.strerror or error})") from None


def _center(shape: shapely.Geometry) -> shapely.Geometry:
    return shapely.box(*shape.bounds).centroid


@skeleton.plain_text()
def _png(plan: gpd.GeoDataFrame, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    centers = np.array([_center(shape).coords[0] for shape in plan.geometry])
    planned = (plan["state"] == "planned").to_numpy()
    x, y = centers.T
    if not planned.all():
        axes.scatter(x[~planned], y[~planned], s=6, marker="x", color="0.6", linewidths=0.6,
                     label=f"rejected ({int((~planned).sum())})")
    biomes = plan["biome"].to_numpy()
    for biome in sorted(set(biomes[planned])):
        chosen = planned & (biomes == biome)
        axes.scatter(x[chosen], y[chosen], s=10, color=colours.biome(int(biome)),
                     label=f"{biome} {BIOMES[int(biome)]} ({int(chosen.sum())})")
    axes.set_xlabel("longitude, degrees east")
    axes.set_ylabel("latitude, degrees north")
    axes.set_title(f"{spec_of(plan).name}: {int(planned.sum())} tiles planned")
    axes.grid(linewidth=0.3)
    axes.set_aspect("equal", adjustable="box")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
