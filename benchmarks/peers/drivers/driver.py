"""What the drivers share. Runs in a peer's own environment: nothing but the standard library and Earth Engine's client.

A driver is called as ``python with_TOOL.py JOB URL OUT AT_ONCE``. It prints ``BEGIN <CPU seconds so far>`` when its
libraries are loaded and Earth Engine answers, and ``END <JSON>`` when all is written.
"""

import collections
import json
import multiprocessing
import os
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

os.environ["no_proxy"] = "127.0.0.1"


def arguments():
    """The job's tiles as objects, its bands, the server's URL, the folder to write, tiles at once."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file, object_hook=lambda found: types.SimpleNamespace(**found))
    os.makedirs(sys.argv[3], exist_ok=True)
    return types.SimpleNamespace(tiles=job.tiles, bands=job.bands, plan=job.plan, url=sys.argv[2], out=sys.argv[3],
                                 at_once=int(sys.argv[4]))


def connect(url):
    """Point the unmodified client at the server; retries are the client's defaults."""
    import ee
    import ee.deprecation
    from google.auth.credentials import AnonymousCredentials

    ee.deprecation.deprecated_assets = {"-": None}  # else Initialize asks the internet for a list
    ee.Initialize(AnonymousCredentials(), project="bench", url=url)


def image_of(tile):
    """The tile's stack as an ``ee.Image``."""
    import ee

    return ee.Image(ee.deserializer.fromJSON(tile.expression))


def grid_of(tile):
    """The tile's grid as ``computePixels`` wants it."""
    return {"dimensions": {"width": tile.size, "height": tile.size}, "crsCode": f"EPSG:{tile.epsg}",
            "affineTransform": {"scaleX": tile.scale, "shearX": 0, "translateX": tile.x0,
                                "shearY": 0, "scaleY": -tile.scale, "translateY": tile.y0}}


def begin():
    """All is loaded: the clock starts."""
    print("BEGIN", time.process_time(), flush=True)
    return time.perf_counter()


def end(began, failed=()):
    """All is written, but for the tiles that failed, each for a reason in words."""
    words = collections.Counter(error.replace("\n", " ")[:120] for error in failed)
    print("END", json.dumps({"wall": time.perf_counter() - began, "failed": sum(words.values()),
                             "words": words.most_common(3)}), flush=True)


def each_tile(given, suffix, one):
    """Call ``one(tile, path)`` for every tile whose file is not there yet, some at once; a failure costs its tile only.

    "Skip what exists" is how people make such scripts resume: none of these tools does it by itself.
    """
    began = begin()
    with ThreadPoolExecutor(given.at_once) as pool:
        end(began, filter(None, pool.map(lambda tile: _attempt(given, suffix, one, tile), given.tiles)))


def each_tile_in_processes(given, suffix, one):
    """The same for a tool that works on one image at a time: several processes, each with a connection of its own."""
    context = multiprocessing.get_context("fork")
    errors = context.SimpleQueue()

    def share(number):
        mine, trouble = given.tiles[number::given.at_once], ""
        try:
            connect(given.url)
        except Exception as error:  # loses the tiles of this process, and is told
            trouble = str(error) or type(error).__name__
        for tile in mine:
            errors.put(trouble or _attempt(given, suffix, one, tile))

    began = begin()
    workers = [context.Process(target=share, args=(number,)) for number in range(given.at_once)]
    for worker in workers:
        worker.start()
    failed = [error for error in (errors.get() for _ in given.tiles) if error]
    for worker in workers:
        worker.join()
    end(began, failed)


def _attempt(given, suffix, one, tile):
    """What went wrong with a tile, in words; empty when nothing did."""
    path = os.path.join(given.out, tile.name + suffix)
    if os.path.exists(path):
        return ""
    try:
        one(tile, path)
    except Exception as error:  # whatever a tool raises counts as a lost tile, and is told
        return str(error) or type(error).__name__
    return ""
