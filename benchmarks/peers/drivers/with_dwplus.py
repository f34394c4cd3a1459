"""Ours: ``dwplus export`` of the plan, without the pictures."""

import distributed  # noqa: F401  (loaded before the clock starts, as every tool's libraries are)
import driver

from dwplus.earth import EarthConfig, connect_config
from dwplus.export.run import export

given = driver.arguments()
config = EarthConfig(world=given.url)
connect_config(config)
began = driver.begin()
summary = export(given.plan, given.out + "/store.zarr", config)
driver.end(began, [summary.line] * (summary.planned - summary.exported))
