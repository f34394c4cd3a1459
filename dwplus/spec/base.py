"""What every part of a spec is: frozen, with unknown keys refused; days in UTC."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

#: Years that dates of labels may have.
FIRST_YEAR, LAST_YEAR = 1970, 2199


class Model(BaseModel):
    """A part of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def as_list(value: Any) -> Any:
    """A value that may be given bare where a list of them is meant, as a list."""
    return value if isinstance(value, list | tuple) else [value]


def short(value: Any) -> str:
    """A value as a sentence shows it: cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:110]}..."


def _day(value: Any) -> Any:
    """A day in UTC; a time of another zone is refused rather than dropped, and a number is no day."""
    said = f"must be a day in UTC such as 2021-06-01, found {short(value)}"
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise ValueError(f"{said} ({error})") from None
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
        if moment.time() != dt.time():
            raise ValueError(said)
        value = moment.date()
    if not isinstance(value, dt.date):
        raise ValueError(said)
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"{said}; years are {FIRST_YEAR} to {LAST_YEAR}")
    return value


Day = Annotated[dt.date, BeforeValidator(_day)]
