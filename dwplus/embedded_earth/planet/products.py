"""Processing baselines and times in the names of Sentinel-2 products."""

from __future__ import annotations

import bisect
import datetime as dt

#: First day of each processing baseline of Level 1C. Source: ESA, processing baselines of Sentinel-2 (05.12: by names).
_TOA = (
    ((2015, 6, 23), "02.00"), ((2015, 12, 15), "02.01"), ((2016, 5, 3), "02.02"), ((2016, 6, 15), "02.04"),
    ((2017, 4, 27), "02.05"), ((2017, 10, 23), "02.06"), ((2018, 11, 6), "02.07"), ((2019, 7, 22), "02.08"),
    ((2020, 2, 4), "02.09"), ((2021, 3, 30), "03.00"), ((2021, 6, 30), "03.01"), ((2022, 1, 25), "04.00"),
    ((2022, 12, 6), "05.09"), ((2023, 12, 13), "05.10"), ((2024, 7, 23), "05.11"), ((2026, 2, 25), "05.12"),
)
#: Level 2A counted for itself until 2021: days between names of real products.
_SURFACE = (
    ((2015, 6, 23), "02.05"), ((2018, 3, 26), "02.07"), ((2018, 7, 1), "02.08"), ((2018, 10, 8), "02.09"),
    ((2018, 11, 6), "02.10"), ((2019, 1, 1), "02.11"), ((2019, 7, 22), "02.13"), ((2020, 2, 4), "02.14"), *_TOA[9:],
)
#: Until this day the last time in a product's name is no time of generation. Source: ESA, compact naming.
_GENERATED = dt.date(2017, 10, 23)
#: What products of before 2022 carry once they are made anew: Collection-1.
COLLECTION_1 = "05.00"


def baseline(day: dt.date, surface: bool) -> str:
    """Processing baseline of products made on a day, such as ``03.01``."""
    table = _SURFACE if surface else _TOA
    return table[max(bisect.bisect_right([start for start, _ in table], (day.year, day.month, day.day)) - 1, 0)][1]


def generated(day: dt.date, second_ms: int, key: int) -> int:
    """The last time in a product's name, milliseconds: hours after the datastrip's start, or near it in early names."""
    if day < _GENERATED:
        return second_ms
    return second_ms + (7_200 + key % 18_000) * 1000
