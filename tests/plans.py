"""Small plans on the sample planet for tests of whole exports."""

from pathlib import Path

from dwplus.earth import connect
from dwplus.earth.tables import sample_sites
from dwplus.planning.plan import make_plan, write_plan
from dwplus.spec import make_spec


def plan_of_sites(folder: Path, name: str, *, sites: int, size: int, per_biome: int) -> Path:
    """Tiles of ``size`` pixels in shards of two, so many in each biome of the first sites; the plan's file."""
    path = folder / "plan.parquet"
    centres = [site.polygon.centroid for site in sample_sites(connect())[:sites]]
    boxes = [{"bbox": [c.x - 0.02, c.y - 0.02, c.x + 0.02, c.y + 0.02]} for c in centres]
    write_plan(make_plan(connect(), make_spec({
        "name": name, "region": boxes, "windows": [["2021-06-01", "2021-08-01"]], "tile": {"size": size},
        "sampling": {"per_biome": per_biome}, "store": {"shard_tiles": 2}})), path)
    return path
