"""Register pharmacies, rename, designate and close them, hand them over to another organisation of the tenant."""

from __future__ import annotations

from datetime import date
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from pydantic import Field, model_validator

from services.directory.commands import memberships, role_grants
from services.directory.commands.organisations import need_open
from services.directory.events import (
    ORGANISATION,
    PHARMACY,
    PHARMACY_CLOSED,
    PHARMACY_CODE_DESIGNATED,
    PHARMACY_DESIGNATED,
    PHARMACY_REGISTERED,
    PHARMACY_RENAMED,
    PHARMACY_TRANSFERRED,
)
from services.directory.fields import OpeningHours, PharmacyCode, PharmacyService, Prefecture, SquareMetres
from services.shared.errors import Conflict
from services.shared.event import Recorded, record
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


class DesignatePharmacy(Command):
    code: PharmacyCode
    valid_from: Day


class RenamePharmacy(Command):
    name: Name
    kana: Name


class ClosePharmacy(Command):
    closed_on: Day | None = None


def register(transaction: TenantTransaction, id: UUID, body: RegisterPharmacy) -> Done:
    """Raises NotFound for an unknown organisation, Conflict beyond the tenant's limit or for a code that is taken."""
    # Counting and adding belong together: two registrations of one tenant take turns.
    transaction.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"directory/pharmacies/{transaction.tenant_id}",)
    )
    limit = need_tenant(transaction)["pharmacy_limit"]
    need_open(hold(transaction, ORGANISATION, body.organisation_id))
    counted = transaction.row(
        "SELECT count(*) AS pharmacies FROM directory.pharmacies WHERE tenant_id = %s AND closed_on IS NULL",
        (transaction.tenant_id,),
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
    registered = record(transaction, PHARMACY_REGISTERED, id, 1)
    return Done.of(registered, *_designate(transaction, id, body.code, body.code_valid_from), created=True)


def transfer(transaction: TenantTransaction, id: UUID, expected_version: int, body: TransferPharmacy) -> Done:
    """It changes hands: another organisation runs it, as a rule under a new code.

    Raises NotFound, VersionConflict, Conflict when that organisation runs it already or the code is taken.
    """
    need_open(hold(transaction, ORGANISATION, body.organisation_id))
    pharmacy = need_open(lock(transaction, PHARMACY, id, expected_version))
    if pharmacy["organisation_id"] == body.organisation_id:
        raise Conflict("that organisation runs it already")
    transaction.execute(
        "UPDATE directory.pharmacies SET organisation_id = %s, code = coalesce(%s, code), "
        "code_valid_from = coalesce(%s, code_valid_from), version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.organisation_id, body.code, body.code_valid_from, transaction.tenant_id, id),
    )
    transferred = record(transaction, PHARMACY_TRANSFERRED, id, expected_version + 1)
    return Done.of(transferred, *_designate(transaction, id, body.code, body.code_valid_from))


def designate(transaction: TenantTransaction, id: UUID, expected_version: int, body: DesignatePharmacy) -> Done:
    """A code from a day on, which may lie in the past; the pharmacy's own code stays the newest one.

    Raises NotFound, VersionConflict, Conflict for a second code from one day on, or one that another pharmacy has.
    """
    pharmacy = lock(transaction, PHARMACY, id, expected_version)
    events = _designate(transaction, id, body.code, body.valid_from)
    if pharmacy["code_valid_from"] is None or body.valid_from > pharmacy["code_valid_from"]:
        transaction.execute(
            "UPDATE directory.pharmacies SET code = %s, code_valid_from = %s, version = version + 1, "
            "updated_at = now() WHERE tenant_id = %s AND id = %s",
            (body.code, body.valid_from, transaction.tenant_id, id),
        )
        events.insert(0, record(transaction, PHARMACY_DESIGNATED, id, expected_version + 1))
    return Done.of(*events)


def rename(transaction: TenantTransaction, id: UUID, expected_version: int, body: RenamePharmacy) -> Done:
    """Raises NotFound, VersionConflict, Conflict."""
    pharmacy = need_open(lock(transaction, PHARMACY, id, expected_version))
    if (pharmacy["name"], pharmacy["kana"]) == (body.name, body.kana):
        raise Conflict("it is called so already")
    transaction.execute(
        "UPDATE directory.pharmacies SET name = %s, kana = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.name, body.kana, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, PHARMACY_RENAMED, id, expected_version + 1))


def close(transaction: TenantTransaction, id: UUID, expected_version: int, body: ClosePharmacy) -> Done:
    """Memberships in it end and roles in it are revoked, each with its own event. Raises NotFound, VersionConflict, …

    ``closed_on`` defaults to today in Japan. Conflict when it is closed already.
    """
    memberships.lock_all(transaction, "pharmacy_id", id)  # before the pharmacy: the order of all commands
    need_open(lock(transaction, PHARMACY, id, expected_version))
    transaction.execute(
        "UPDATE directory.pharmacies SET closed_on = coalesce(%s, (now() AT TIME ZONE 'Asia/Tokyo')::date), "
        "version = version + 1, updated_at = now() WHERE tenant_id = %s AND id = %s",
        (body.closed_on, transaction.tenant_id, id),
    )
    closed = record(transaction, PHARMACY_CLOSED, id, expected_version + 1)
    ended = memberships.end_all(transaction, "pharmacy_id", id, body.closed_on)
    revoked = role_grants.revoke_all(transaction, "pharmacy_id", id)
    return Done.of(closed, *ended, *revoked)


def _designate(transaction: TenantTransaction, id: UUID, code: str | None, valid_from: date | None) -> list[Recorded]:
    if code is None or valid_from is None:
        return []
    code_id = uuid5(id, f"{code}/{valid_from}")
    touched = transaction.execute(
        "INSERT INTO directory.pharmacy_codes (id, tenant_id, pharmacy_id, code, valid_from, version) "
        "VALUES (%s, %s, %s, %s, %s, 1) ON CONFLICT DO NOTHING",
        (code_id, transaction.tenant_id, id, code, valid_from),
    )
    if touched == 0:
        raise Conflict(f"the pharmacy has a code from {valid_from} on already", fix="see GET /v1/pharmacies/{id}/codes")
    return [record(transaction, PHARMACY_CODE_DESIGNATED, code_id, 1)]
