"""What a field of a command may hold: the limits of the tables, so that a refusal comes before the database."""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


def _printable(text: str) -> str:
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


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_printable)
]
Prefecture = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20), AfterValidator(_printable)
]
# Deliberately loose: the only proof of an address is a mail that arrives there.
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=r"^[!-?A-~]+@[a-zA-Z0-9.-]+$"),
]
PharmacyCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{10}$")]
CorporateNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{13}$")]
Day = Annotated[date, AfterValidator(_ordinary_date)]
Moment = Annotated[AwareDatetime, AfterValidator(_ordinary_time)]
SquareMetres = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
WeeklyHours = Annotated[Decimal, Field(gt=0, le=168, max_digits=5, decimal_places=2)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
OpeningHours = dict[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], tuple[TimeOfDay, TimeOfDay]]
PharmacyService = Literal["home_visit", "sterile", "night", "holiday", "drive_through"]
OrganisationKind = Literal["company", "division", "area"]
Role = Literal["administrator", "manager", "pharmacist", "clerk", "auditor"]


class Command(BaseModel):
    """What every command may say about itself. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(default=None, description="why; kept with the event and shown by every trace")
    effective_at: Moment | None = Field(
        default=None, description="from when it counts, where that is not now; with a time zone"
    )
