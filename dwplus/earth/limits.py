"""The service's limits, each with its source."""

from __future__ import annotations

#: Uncompressed bytes of one computePixels answer; the mask byte of every pixel of every band counts.
#: Source: https://developers.google.com/earth-engine/guides/usage and measured messages.
PIXEL_BYTES = 50_331_648
#: Pixels along one side of a request. Source: as above.
PIXEL_SIDE = 32_768
#: Elements in one answer. Source: https://developers.google.com/earth-engine/guides/debugging
ELEMENTS = 5_000
#: Interactive requests in flight and per second, of one project.
#: Source: https://developers.google.com/earth-engine/guides/usage
CONCURRENT_REQUESTS = 40
REQUESTS_PER_SECOND = 100
#: Seconds the service works on an interactive request before it gives up. Source: as above.
REQUEST_SECONDS = 300

#: EECU-hours a month of a project that pays nothing, by tier; in force since 2026-04-27.
#: Source: https://developers.google.com/earth-engine/guides/noncommercial_tiers
TIERS = {"Community": 150, "Contributor": 1_000, "Partner": 100_000}


def pixel_bytes(height: int, width: int, item_sizes: list[int]) -> int:
    """Bytes a pixel request counts: each band's item size and one mask byte, per pixel."""
    return height * width * sum(size + 1 for size in item_sizes)
