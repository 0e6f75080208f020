"""What a field of a command may hold, as far as every service agrees on it."""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


def printable(text: str) -> str:
    # NUL and lone surrogates can't be stored; the other control characters deceive whoever reads the name.
    # Cf stays: joiners belong to some scripts.
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
            raise ValueError(f"must not contain the control character U+{ord(character):04X}")
    return text


def _ordinary_date(value: date) -> date:
    if not 1900 <= value.year < 2200:
        raise ValueError("must lie between 1900 and 2199")
    return value


def _ordinary_time(value: datetime) -> datetime:
    _ordinary_date(value)
    return value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(printable)]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(printable)
]
Day = Annotated[date, AfterValidator(_ordinary_date)]
Moment = Annotated[AwareDatetime, AfterValidator(_ordinary_time)]


class Command(BaseModel):
    """What every command may say about itself. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(default=None, description="why; kept with the event and shown by every trace")
    effective_at: Moment | None = Field(
        default=None, description="from when it counts, where that is not now; with a time zone"
    )
