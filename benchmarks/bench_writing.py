"""What does a new file cost in CPU, with its pages kept in memory and with them let go? Prints both.

Shards of 16 tiles of 3.7 MB, random bytes, are written and synced as the exporter does it, with a pause after each
for as long as the next one is fetched. Where a host takes free memory back from its virtual machines, pages that were
not in use a moment before cost the guest's CPU; elsewhere both figures are the same.

    python -m benchmarks.bench_writing [--shards 12] [--pause 0.3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

from dwplus.store import places

TILE_BYTES, TILES = 3_700_000, 16


def cost(folder: Path, shards: int, pause: float) -> list[float]:
    """CPU ms a tile, shard by shard."""
    found, tile = [], os.urandom(TILE_BYTES)
    for number in range(shards):
        began = time.thread_time()
        places.Folder(folder).write(str(number), [tile] * TILES)
        found.append((time.thread_time() - began) / TILES * 1e3)
        time.sleep(pause)
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--shards", type=int, default=12)
    words.add_argument("--pause", type=float, default=0.3, help="seconds between shards")
    given = words.parse_args()
    for name, forget in (("kept", lambda file: None), ("let go", places._forget)) * 2:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(places, "_forget", forget):
            found = cost(Path(folder), given.shards, given.pause)
        time.sleep(5)  # whoever takes free memory back has the time to
        print(f"pages {name:<8} {' '.join(f'{ms:5.1f}' for ms in found)} ms of CPU a tile", flush=True)


if __name__ == "__main__":
    main()
