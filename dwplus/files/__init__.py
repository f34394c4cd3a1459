"""Files that people write and name: paths that stay below their folder, YAML without slips or bombs."""

from dwplus.files.paths import all_below, below, fresh, leads_out

__all__ = ["all_below", "below", "fresh", "leads_out"]
