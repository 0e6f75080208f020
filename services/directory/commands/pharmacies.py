"""Register pharmacies, and hand them over to another organisation of the tenant."""

from __future__ import annotations

from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import Field, model_validator

from services.directory.events import ORGANISATION, PHARMACY, PHARMACY_REGISTERED, PHARMACY_TRANSFERRED
from services.directory.fields import OpeningHours, PharmacyCode, PharmacyService, Prefecture, SquareMetres
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.state import hold, lock, need_tenant
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Day, Name


class _Designated(Command):
    """A code comes with the first day of its designation, which may lie in the past."""

    code: PharmacyCode | None = None
    code_valid_from: Day | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> _Designated:
        if (self.code is None) != (self.code_valid_from is None):
            raise ValueError("code and code_valid_from come together")
        return self


class RegisterPharmacy(_Designated):
    organisation_id: UUID
    name: Name
    kana: Name
    prefecture: Prefecture
    opened_on: Day
    dispensing_area_m2: SquareMetres | None = None
    opening_hours: OpeningHours = Field(default_factory=dict)
    services: list[PharmacyService] = Field(default_factory=list, max_length=10)
    accepts_e_prescription: bool = False


class TransferPharmacy(_Designated):
    organisation_id: UUID


def register(transaction: TenantTransaction, id: UUID, body: RegisterPharmacy) -> Done:
    """Raises NotFound for an unknown organisation, Conflict beyond the tenant's limit or for a code that is taken."""
    # Counting and adding belong together: two registrations of one tenant take turns.
    transaction.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"directory/pharmacies/{transaction.tenant_id}",)
    )
    limit = need_tenant(transaction)["pharmacy_limit"]
    hold(transaction, ORGANISATION, body.organisation_id)
    counted = transaction.row(
        "SELECT count(*) AS pharmacies FROM directory.pharmacies WHERE tenant_id = %s", (transaction.tenant_id,)
    )
    if counted is not None and counted["pharmacies"] >= limit:
        raise Conflict(f"the tenant has its {limit} pharmacies already", fix="raise the tenant's pharmacy_limit first")
    transaction.execute(
        "INSERT INTO directory.pharmacies (id, tenant_id, organisation_id, name, kana, code, code_valid_from, "
        "prefecture, opened_on, dispensing_area_m2, opening_hours, services, accepts_e_prescription, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1)",
        (
            id,
            transaction.tenant_id,
            body.organisation_id,
            body.name,
            body.kana,
            body.code,
            body.code_valid_from,
            body.prefecture,
            body.opened_on,
            body.dispensing_area_m2,
            Jsonb(body.opening_hours),
            body.services,
            body.accepts_e_prescription,
        ),
    )
    return Done.of(record(transaction, PHARMACY_REGISTERED, id, 1), created=True)


def transfer(transaction: TenantTransaction, id: UUID, expected_version: int, body: TransferPharmacy) -> Done:
    """It changes hands: another organisation runs it, as a rule under a new code.

    Raises NotFound, VersionConflict, Conflict when that organisation runs it already or the code is taken.
    """
    hold(transaction, ORGANISATION, body.organisation_id)
    pharmacy = lock(transaction, PHARMACY, id, expected_version)
    if pharmacy["organisation_id"] == body.organisation_id:
        raise Conflict("that organisation runs it already")
    transaction.execute(
        "UPDATE directory.pharmacies SET organisation_id = %s, code = coalesce(%s, code), "
        "code_valid_from = coalesce(%s, code_valid_from), version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.organisation_id, body.code, body.code_valid_from, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, PHARMACY_TRANSFERRED, id, expected_version + 1))
