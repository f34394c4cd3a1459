"""The map: a trained run, a region and dates in; GeoTIFFs, areas and pictures out: ``dwplus map``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dwplus.earth import allowance, connect
from dwplus.earth.session import EarthConfig, connect_config
from dwplus.earth.tables import habitats
from dwplus.errors import InputError, scrubbed, scrubbed_values
from dwplus.maps import areas, inputs
from dwplus.maps.blocks import Block, Frame, WindowShape
from dwplus.maps.earth_inputs import EarthInputs
from dwplus.maps.plan import clip_of, map_spec, plan_blocks, touching
from dwplus.maps.product import OPTIONS, Product, large_rasters
from dwplus.maps.transfer import correction
from dwplus.maps.work import Work
from dwplus.pages.words import synthetic
from dwplus.planning import regions
from dwplus.planning.plan import created, describe, read_plan, spec_of, write_plan
from dwplus.runtime import cluster
from dwplus.runtime.console import count_progress, say
from dwplus.spec import DatasetSpec, differences
from dwplus.spec.extras import extra, input_bands, inputs_in
from dwplus.spec.radar import GAMMA_RTC, quantity
from dwplus.store.legend import DYNAMIC_WORLD, Legend
from dwplus.store.locks import only_run
from dwplus.store.places import beside
from pipelines.defaults import run_folder
from pipelines.door import run_command
from pipelines.export_region import spec_for

if TYPE_CHECKING:
    import distributed
    import pandas as pd
    import shapely

    from model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Options:
    """What a user can say; see ``--help``."""

    region: str | None
    start: str | None
    end: str | None
    run: str
    out: str | None
    store: str | None = None
    project: str | None = None
    world: str | None = None
    scheduler: str = "threads"
    device: str | None = None
    batch: int | None = None
    dates: str = "best"
    clouds: str = "mask"
    layers: tuple[str, ...] = ()
    margin: int = 32
    ramp: int = 32
    polygons: str | None = None
    name_field: str | None = None
    reference: str | None = None
    transfer: str | None = None
    flips: bool = False

    def check(self) -> None:
        """Refuse what can be refused before any work.

        Raises
        ------
        InputError
            One sentence.
        """
        inputs.check_dates(self.dates)
        if self.clouds not in ("mask", "keep"):
            raise InputError(f"CLOUDS {self.clouds!r}: must be mask (no data there) or keep")
        if unknown := sorted(set(self.layers) - set(OPTIONS)):
            raise InputError(f"LAYERS {unknown[0]!r}: must be among {', '.join(OPTIONS)}")
        if not self.store and not self.region:
            raise InputError("REGION: give west,south,east,north, a .geojson, a spec, or a STORE to map")
        if "://" in (self.out or ""):
            raise InputError(f"OUT {self.out}: a map is written to a folder; copy it to a bucket when it is done")
        if self.polygons:
            areas.read_polygons(self.polygons, self.name_field)
        if self.transfer and self.reference:
            raise InputError("--transfer: give it or --reference, not both")

    def check_reference(self, classes: Sequence[str]) -> None:
        """Refuse a reference that is none of a map of some classes.

        Raises
        ------
        InputError
            One sentence.
        """
        if self.reference and areas.read_reference(self.reference, classes).clustered:
            raise InputError(f"--reference {self.reference}: is an evaluation of other ground, no sample of this map; "
                             "--transfer takes its correction over, named so, or draw a sample with dwplus sample")


#: Mapped where neither a region nor a store is given: twelve tiles of the sample planet, a minute or two.
FIRST_MAP = "9.1,51.15,9.3,51.27"


@dataclass(frozen=True)
class Ground:
    """What is mapped: the blocks, where they come from, the region by zone, when that was planned, and the banner of
    synthetic pixels, empty where they are none."""

    blocks: list[Block]
    source: inputs.Inputs
    clip: dict[int, shapely.Geometry] | None
    created: str
    words: str
    earth: EarthConfig
    synthetic: str

    def biomes(self) -> set[int]:
        """Biomes of the blocks, by their store or by the map of ecoregions; blocks at sea have none."""
        if isinstance(self.source, inputs.StoreInputs):
            groups = {scene.group for block in self.blocks for scene in block.scenes}
            return {int(group.rpartition("_")[2]) for group in groups}
        found = habitats(connect_config(self.earth), [block.grid.center for block in self.blocks if block.scenes])
        return {habitat.biome for habitat in found if habitat is not None}


def run_with_defaults(options: Options, network: str | None = None) -> int:
    """Map; what is not said is a corner of the sample planet, and the run of a network that is trained first.

    Parameters
    ----------
    network : whose default run is taken where ``options.run`` is empty; None = ``specsar_former``.
    """
    region = options.region or (None if options.store else FIRST_MAP)
    folder = run_folder(options.run, network)
    given, options = options.run, replace(options, region=region, run=folder)
    options.check()
    if not given and not (Path(folder) / "best.safetensors").exists():
        from pipelines.train import run as train

        options.check_reference(DYNAMIC_WORLD.classes)
        say(f"run {folder}: is not there yet, it is trained first")
        if code := train([], network, folder, None, [], options.device):
            return code
    return run(options)


def run(options: Options) -> int:
    """Plan, map, write. The same command goes on where a stopped one was."""
    from model.checkpoint import load
    from model.mapping import Job, checkpoint_path, map_blocks

    options.check()
    shape = WindowShape(options.margin, options.ramp)
    weights = checkpoint_path(options.run)
    checkpoint = load(weights)
    legend = checkpoint.legend
    options.check_reference(legend.classes)
    spec = _spec(options, checkpoint)
    out = Path(options.out or f"maps/{spec.name if spec else Path(str(options.store)).stem}")
    settings = _settings(options, spec, weights)
    if not _is_new(out, settings):
        return 0
    folder = Path(beside(out, ".run").name)  # where only_run keeps its lock
    with only_run(out), _leaving_nothing(folder):
        _keep_settings(folder / "settings.json", settings, out)
        work = Work(folder)
        work.prepare()
        ground = (_from_store(options, shape, checkpoint, folder) if options.store else
                  _from_earth(options, _checked(spec), shape, folder))
        reference = _reference(options, weights, ground, legend)
        for line in large_rasters(ground.blocks, ground.clip):
            say(line)
        frame = Frame(ground.blocks, shape)
        job = Job(ground.source, str(weights), str(folder), shape, options.device, options.batch,
                  "probabilities" in options.layers, options.flips)
        with _client(options) as client, count_progress("blocks") as progress:
            tally = map_blocks(job, frame, client, progress)
        say(tally.line)
        for reason in (*tally.failed, *tally.rejected):
            if tally.example[reason] != reason:
                say(f"  {tally.example[reason]}")
        if tally.failed:
            say(f"no map is written while blocks failed; run the same command again, {tally.mapped} blocks stay")
            return 1
        if not tally.mapped:
            raise InputError(f"map {out}: no block could be mapped ({tally.line}); take other dates or another REGION")
        product = Product(
            out, work, ground.blocks, tally.outcomes, ground.clip, options.layers, reference, bool(options.transfer),
            f"Land cover, {out.name}", f"{ground.words}; {checkpoint.name}", ground.created,
            {"settings": settings, "blocks": tally.line, "made_from": _made_from(options, checkpoint, weights, ground),
             "synthetic": bool(ground.synthetic),
             **({"radar": GAMMA_RTC} if GAMMA_RTC in map(quantity, checkpoint.info.get("specs") or []) else {})},
            legend)
        table = product.write(options.polygons, options.name_field)
        work.sweep()
    _show(table, out)
    return 0


@contextlib.contextmanager
def _leaving_nothing(folder: Path) -> Iterator[None]:
    """Remove the folder of a run that only just began, should it turn out that the user asked for the impossible."""
    fresh = not (folder / "settings.json").exists()
    try:
        yield
    except InputError:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _spec(options: Options, checkpoint: Checkpoint) -> DatasetSpec | None:
    """The spec of the map; None for a whole store."""
    if not options.region:
        return None
    spec = spec_for(options.region, options.start, options.end)
    if options.store:
        return spec
    spec = map_spec(spec, checkpoint.info["specs"][0], inputs.check_dates(options.dates),
                    inputs_in(checkpoint.info["s2_bands"]))
    for name, bands in (("s2_bands", (*spec.sentinel2.bands, *input_bands(spec.extras))), ("s1_bands", spec.s1_bands)):
        if tuple(checkpoint.info[name]) != tuple(bands):
            raise InputError(f"REGION {options.region}: asks for {name} {' '.join(bands)}, checkpoint "
                             f"{checkpoint.path} was trained on {' '.join(checkpoint.info[name])}; ask for these")
    from model.checkpoint import check_radar

    check_radar(checkpoint, spec.model_dump(mode="json"), f"REGION {options.region}")
    return spec


def _checked(spec: DatasetSpec | None) -> DatasetSpec:
    assert spec is not None
    return spec


def _settings(options: Options, spec: DatasetSpec | None, weights: Path) -> dict[str, Any]:
    """Everything that decides the pixels of the map."""
    kept = ("region", "start", "end", "store", "project", "world", "dates", "clouds", "margin", "ramp", "polygons",
            "name_field", "reference", "transfer")
    given = scrubbed_values({key: value for key, value in asdict(options).items() if key in kept})
    if options.flips:  # left out where they are off, so that a map of an earlier build goes on
        given["flips"] = True
    return {**given, "layers": sorted(options.layers), "spec": json.loads(spec.to_json()) if spec else None,
            "run": str(weights), "weights": hashlib.sha256(weights.read_bytes()).hexdigest()}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> str:
    keys = [key for key in sorted(new) if old.get(key) != new[key]]
    return ", ".join(f"{key}: {old.get(key)} -> {new[key]}" if key not in ("spec", "weights") else key
                     for key in keys[:3])


def _is_new(out: Path, settings: dict[str, Any]) -> bool:
    """Whether there is work to do.

    Raises
    ------
    InputError
        Where the folder holds something else, or a map of other settings.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return True
    try:
        known = json.loads((out / "map.json").read_text())
    except (OSError, ValueError):
        # A run that was stopped while it wrote its files left them without map.json, and its own folder beside them.
        if Path(f"{out}.run/settings.json").exists():
            return True
        raise InputError(f"OUT {out}: is there and is no map; choose another OUT, or remove it") from None
    if changed := _differing(known["settings"], settings):
        raise InputError(f"OUT {out}: holds a map with other settings ({changed}); choose another OUT, or remove it")
    say(f"map {out} is there and of the same settings: {known['blocks']}")
    return False


def _keep_settings(path: Path, settings: dict[str, Any], out: Path) -> None:
    if path.exists():
        if changed := _differing(json.loads(path.read_text()), settings):
            raise InputError(f"OUT {out}: was begun with other settings ({changed}); choose another OUT, or remove "
                             f"{path.parent}")
        return
    path.write_text(json.dumps(settings, indent=1))


def _from_earth(options: Options, spec: DatasetSpec, shape: WindowShape, folder: Path) -> Ground:
    session = connect(options.project, options.world)
    say(session.description)
    shapes = regions.polygons(session, spec)
    regions.check_ground(session, shapes)
    path = folder / "plan.parquet"
    if path.exists():
        plan = read_plan(path, places=False)
        if changed := differences(spec_of(plan), spec):
            raise InputError(f"OUT: {path} was planned under another spec ({'; '.join(changed[:3])}); remove {folder}")
        say(f"plan {path} is there: going on with it")
    else:
        plan = plan_blocks(session, spec, shapes, say)
        write_plan(plan, path)
    say(describe(plan))
    blocks = inputs.blocks_of_plan(plan, inputs.check_dates(options.dates), options.clouds == "mask")
    source = EarthInputs(_config(options), spec, shape, options.scheduler != "threads")
    windows = ", ".join(f"{w.start} to {w.end}" for w in spec.windows)
    own = {block.grid.epsg for block in blocks} if spec.tile.grid == "label" else ()
    return Ground(blocks, source, clip_of(shapes, own), created(path), windows, _config(options),
                  synthetic("earth-engine" if options.project else "embedded-earth", session.version))


def _from_store(options: Options, shape: WindowShape, checkpoint: Checkpoint, folder: Path) -> Ground:
    import numpy as np
    import pandas as pd
    import zarr

    from dwplus.store import layout
    from dwplus.store.reader import tile_table
    from model.checkpoint import check_store
    from model.scoring import synthetic_of

    store = str(options.store)
    root = layout.open_root(store)
    first = layout.biome_groups(root)[0]
    s2_bands, s1_bands = (tuple(map(str, np.asarray(root[f"{first}/{sensor}_band"]))) for sensor in ("s2", "s1"))
    arrays = {name: root.get(f"{first}/{name}") for name in inputs_in(checkpoint.info["s2_bands"])}
    extras = [extra(name, str(array.dtype)) for name, array in arrays.items() if isinstance(array, zarr.Array)]
    attrs: Any = root.attrs.asdict()
    check_store(checkpoint, (*s2_bands, *input_bands([one.name for one in extras])), s1_bands, store,
                spec=attrs["spec"])
    table = tile_table(store)
    _refuse_nowhere(table, store)
    if options.start and options.end:
        start, end = (pd.Timestamp(day, tz="UTC") for day in (options.start, options.end))
        table = table[(table["s2_time"] >= start) & (table["s2_time"] < end)]
        if not len(table):
            raise InputError(f"store {store}: holds no tile from {options.start} to {options.end}")
    tile = attrs["spec"]["tile"]
    blocks = inputs.blocks_of_store(table, float(tile["scale"]), int(tile["size"]), inputs.check_dates(options.dates))
    clip = None
    if options.region:
        shapes = regions.polygons(connect(options.project, options.world),
                                  spec_for(options.region, options.start, options.end))
        clip = clip_of(shapes)
        blocks = touching(blocks, clip)
        if not blocks:
            raise InputError(f"REGION {options.region}: store {store} holds no tile there")
    days = pd.to_datetime([s.s2_ms for b in blocks for s in b.scenes], unit="ms")
    words = f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}" if len(days) else "no dates"
    # Annotated tiles are unmarked where nobody marked anything, and relabelled ones where a class has no counterpart:
    # that is no cloud.
    masked = options.clouds == "mask" and attrs["label_source"] == "dynamic-world-v1"
    lost = [name for name, new in attrs.get("relabelled", {}).get("became", {}).items() if new is None]
    if masked and lost:
        masked = False
        say(f"clouds are not masked: store {store} was relabelled, and its pixels without a label are clouds or "
            f"{', '.join(lost)}; map the store that it was made from")
    return Ground(blocks, inputs.StoreInputs(store, blocks, shape, masked, extras), clip,
                  created(folder / "settings.json"), words, _config(options), synthetic_of([store]))


def _refuse_nowhere(table: pd.DataFrame, store: str) -> None:
    """Refuse a store whose tiles do not say where they lie, or when they were taken."""
    own = table[table["status"].astype(str) == "exported"]
    for missing, what in ((own["epsg"] <= 0, "coordinates in a zone's metres"), (own["s2_time"].isna(), "dates")):
        if missing.any():
            raise InputError(f"store {store}: {int(missing.sum())} of its {len(own)} tiles have no {what}, which a map "
                             "shows; imported sets are evaluated (dwplus evaluate) and looked at (dwplus view)")


@contextlib.contextmanager
def _client(options: Options) -> Iterator[distributed.Client | None]:
    """A Dask client for anything but this process; its workers share the allowance of one project."""
    if options.scheduler == "threads":
        yield None
        return
    with cluster.client_of(options.scheduler, 1) as client, cluster.watched(client, options.scheduler):
        if not options.store:
            allowance.allow(client, _config(options))
        yield client


def _config(options: Options) -> EarthConfig:
    return EarthConfig(options.project or None, options.world or None, workload="dwplus-map")


def _reference(options: Options, weights: Path, ground: Ground, legend: Legend) -> areas.Reference | None:
    """The errors of the map, where the user gives them: points drawn in it, or a correction from elsewhere."""
    if options.reference:
        return areas.read_reference(options.reference, legend.classes)
    if not options.transfer:
        return None
    path = weights.parent / "evaluation_test" / "blocks.csv" if options.transfer == "run" else Path(options.transfer)
    return correction(path, ground.biomes(), legend.classes)


def _made_from(options: Options, checkpoint: Checkpoint, weights: Path, ground: Ground) -> dict[str, str]:
    from model.checkpoint import versions

    source = options.store or options.project or options.world
    pixels = scrubbed(source) if source else "the embedded Earth's sample planet"
    return {"network": f"{checkpoint.name}, epoch {checkpoint.info['epoch']}, {weights}",
            "pixels": f"{pixels}{' (synthetic)' if ground.synthetic else ''}",
            "dates": ground.words, "scenes merged": f"{options.dates}, clouds: {options.clouds}",
            "made with": ", ".join(f"{k} {v}" for k, v in versions().items())}


def _show(table: Any, out: Path) -> None:
    """Areas on the terminal, under the words that say what they rest on."""
    design = str(table["design"].iloc[0])
    say(f"areas: {design}")
    adjusted, moved = "adjusted_km2" in table, "transferred_km2" in table
    say(f"{'class':22} {'counted km2':>12}" + (f" {'estimate':>12}  95 % interval" if adjusted else "")
        + (f" {'transferred':>12}" if moved else ""))
    for row in table.to_dict("records"):
        line = f"{row['class']:22} {row['mapped_km2']:12,.2f}"
        if adjusted:
            known = math.isfinite(row["low_km2"])
            line += f" {row['adjusted_km2']:12,.2f}  " + (f"{row['low_km2']:,.2f} to {row['high_km2']:,.2f}" if known
                                                         else "not known")
        if moved:
            line += f" {row['transferred_km2']:12,.2f}"
        say(line)
    if not adjusted:
        say(f"for areas with intervals, draw and label a sample of this map: dwplus sample {out} -n 500 -o sample.csv")
    say(f"map:  {out / 'class.vrt'}    look:  {out / 'index.html'}, {out / 'quicklook.png'}")


if __name__ == "__main__":
    run_command("map")
