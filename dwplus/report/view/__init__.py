"""A store, a plan, a run or a map in the browser: look, filter, mark. Served on this machine alone, offline."""
