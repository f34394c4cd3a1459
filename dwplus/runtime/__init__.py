"""What a process of ours stands on: names, the terminal, Dask's workers, files that people write and name."""
