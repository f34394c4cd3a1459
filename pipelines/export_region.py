"""The main job: a region and dates in, a Zarr store out: ``dwplus export-region``."""

from __future__ import annotations

import re
from pathlib import Path

from dwplus.earth import connect
from dwplus.errors import InputError
from dwplus.planning.plan import describe, make_plan, read_plan, spec_of, write_plan
from dwplus.runtime.console import say
from dwplus.spec import WKT_WORDS, DatasetSpec, differences, load_spec, make_spec
from dwplus.store.places import companion
from pipelines.door import run_command
from pipelines.export_plan import export_and_show

REGIONS = Path(__file__).parent / "regions"
#: Ends of names of files of polygons.
REGION_FILES = (".geojson", ".json", ".gpkg", ".shp", ".zip", ".fgb", ".kml", ".kmz", ".gml", ".parquet", ".geoparquet")
#: Label dates of a region that is given without any.
DEFAULT_WINDOW = ("2021-06-01", "2021-09-01")


def spec_for(region: str, start: str | None, end: str | None) -> DatasetSpec:
    """The spec behind REGION, START and END.

    Parameters
    ----------
    region : a spec (YAML file, or the name of one in ``pipelines/regions``), a file of polygons, a
        WKT text, or ``west,south,east,north``.
    start, end : label dates [start, end); both or neither, they replace the windows of a spec.

    Raises
    ------
    InputError
        With the sentence that says which of these it is not.
    """
    if bool(start) != bool(end):
        raise InputError("START and END: give both, or neither")
    window = [start, end] if start and end else None
    shipped = REGIONS / f"{region}.yaml"
    other = Path(region).suffix.lower() not in REGION_FILES and Path(region).is_file()  # whatever it is called
    if shipped.exists() or region.endswith((".yaml", ".yml")) or other:
        return load_spec(shipped if shipped.exists() else region, {"windows": [window]} if window else None)
    if Path(region).suffix.lower() in REGION_FILES:
        part: object = {"file": region}
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(region).stem).lstrip("._-") or "region"
    elif region.strip().upper().startswith(WKT_WORDS):
        part, name = region, "wkt"
    elif region.count(",") == 3:
        try:
            part = {"bbox": [float(v) for v in region.split(",")]}
        except ValueError:
            raise InputError(f"REGION {region!r}: west,south,east,north must be numbers") from None
        name = "bbox"
    else:
        names = ", ".join(sorted(p.stem for p in REGIONS.glob("*.yaml")))
        raise InputError(f"REGION {region!r}: must be a spec (.yaml), one of {names}, a file of polygons "
                         f"({', '.join(REGION_FILES)}), a WKT text, or west,south,east,north")
    return make_spec({"name": name, "region": part, "windows": [window or DEFAULT_WINDOW]}, f"REGION {region}")


def run(region: str, start: str | None, end: str | None, store: str | None, project: str | None, world: str | None,
        scheduler: str) -> int:
    """Plan, export, describe, draw. A plan made before for the same spec is used again, so that a stopped run goes on
    with the very scenes it began with."""
    spec = spec_for(region, start, end)
    target = store or f"data/{spec.name}.zarr"
    plan_path = companion(target, ".plan.parquet")
    if plan_path.exists():
        kept = spec_of(read_plan(plan_path))
        if changed := differences(kept, spec):
            raise InputError(f"store {target}: {plan_path} was planned under another spec ({'; '.join(changed[:3])}); "
                             "choose another STORE, or remove both")
        say(f"plan {plan_path} is there and of the same spec: going on with it")
    else:
        session = connect(project, world)
        say(session.description)
        plan = make_plan(session, spec, say)
        write_plan(plan, plan_path)
        say(describe(plan))
    code = export_and_show(plan_path, target, world, project, scheduler, quicklooks=True)
    say(f"open it:  import dwplus; dwplus.open_store({str(target)!r})")
    return code


if __name__ == "__main__":
    run_command("export-region")
