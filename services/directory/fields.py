"""What a field of the directory's commands may hold: the limits of the tables, so that a refusal comes before them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from services.web.fields import printable

Prefecture = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20), AfterValidator(printable)
]
# Deliberately loose: the only proof of an address is a mail that arrives there.
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=r"^[!-?A-~]+@[a-zA-Z0-9.-]+$"),
]
PharmacyCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{10}$")]
CorporateNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{13}$")]
SquareMetres = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
WeeklyHours = Annotated[Decimal, Field(gt=0, le=168, max_digits=5, decimal_places=2)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
OpeningHours = dict[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], tuple[TimeOfDay, TimeOfDay]]
PharmacyService = Literal["home_visit", "sterile", "night", "holiday", "drive_through"]
OrganisationKind = Literal["company", "division", "area"]
Role = Literal["administrator", "manager", "pharmacist", "clerk", "auditor"]
