"""What the flows take where nothing is given: the sample store, the folder of a network's run."""

from __future__ import annotations

from pathlib import Path

from dwplus.errors import InputError

#: The store that ``dwplus export-region`` makes, and the network that is trained, by default.
STORE, NETWORK = "data/sample.zarr", "specsar_former"


def stores_to_read(stores: list[str]) -> list[str]:
    """The stores given, else the sample.

    Raises
    ------
    InputError
        Where none is given and the sample is not there.
    """
    if stores := [store for store in stores if store]:
        return stores
    if not Path(STORE).exists():
        raise InputError(f"STORE: give the folder of a store; the default, {STORE}, is not there (dwplus export-region "
                         "or make export-region makes it)")
    return [STORE]


def run_folder(run: str | None, network: str | None = None) -> str:
    """The run given, else the folder that a training of the network has by default."""
    return run or f"runs/{(network or NETWORK).partition(':')[0]}"


def export_sample() -> None:
    """Make the sample store where it is not there.

    Raises
    ------
    InputError
        Where it cannot be finished.
    """
    if Path(STORE).exists():
        return
    from pipelines.export_region import run

    if run("sample", None, None, STORE, None, None, "threads"):
        raise InputError(f"STORE {STORE}: the sample is not complete; run dwplus export-region again, or give a store")
