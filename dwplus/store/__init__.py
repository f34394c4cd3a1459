"""The Zarr store: its layout, its only writer, its readers."""
