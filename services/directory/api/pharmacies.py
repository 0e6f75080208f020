"""/v1/pharmacies."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from services.directory.commands import pharmacies, reorganisation
from services.directory.events import PHARMACY
from services.web import reads
from services.web.call import Commanding, Reading
from services.web.fields import Day

router = APIRouter(prefix="/pharmacies", tags=["pharmacies"])


@router.post("", summary="Register a pharmacy", status_code=201)
def register(body: pharmacies.RegisterPharmacy, call: Commanding) -> Response:
    return call.run(body, lambda transaction: pharmacies.register(transaction, call.new_id, body))


@router.post("/{id}/transfer", summary="Transfer a pharmacy to another organisation")
def transfer(id: UUID, body: pharmacies.TransferPharmacy, call: Commanding) -> Response:
    """It changes hands: another organisation of the tenant runs it from now on."""
    expected = call.expected_version
    return call.run(body, lambda transaction: pharmacies.transfer(transaction, id, expected, body))


@router.post("/{id}/hand-over", summary="Hand a pharmacy over to another tenant")
def hand_over(id: UUID, body: reorganisation.HandOverPharmacy, call: Commanding) -> Response:
    """It changes hands between tenants, with its devices and whoever works there and nowhere else."""
    expected = call.expected_version
    return call.run(body, lambda transaction: reorganisation.hand_over(transaction, id, expected, body))


@router.post("/{id}/designate", summary="Designate a pharmacy under a new code")
def designate(id: UUID, body: pharmacies.DesignatePharmacy, call: Commanding) -> Response:
    """A code from a day on, also a day in the past."""
    expected = call.expected_version
    return call.run(body, lambda transaction: pharmacies.designate(transaction, id, expected, body))


@router.post("/{id}/rename", summary="Rename a pharmacy")
def rename(id: UUID, body: pharmacies.RenamePharmacy, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: pharmacies.rename(transaction, id, expected, body))


@router.post("/{id}/close", summary="Close a pharmacy")
def close(id: UUID, body: pharmacies.ClosePharmacy, call: Commanding) -> Response:
    """Ends its memberships and roles too."""
    expected = call.expected_version
    return call.run(body, lambda transaction: pharmacies.close(transaction, id, expected, body))


@router.get("/{id}/codes", summary="List a pharmacy's codes")
def codes(id: UUID, caller: Reading, on: Day | None = None) -> Response:
    """Every code with its first day, newest first; with ``on``, the one in force on that day."""
    with caller.database.tenant_reading(caller.context) as reading:
        rows = reading.rows(
            "SELECT to_jsonb(state) AS state FROM directory.pharmacy_codes AS state WHERE tenant_id = %(t)s "
            "AND pharmacy_id = %(id)s AND (%(on)s::date IS NULL OR valid_from <= %(on)s) "
            "ORDER BY valid_from DESC LIMIT CASE WHEN %(on)s::date IS NULL THEN NULL ELSE 1 END",
            {"t": reading.tenant_id, "id": id, "on": on},
        )
    return JSONResponse({"items": [row["state"] for row in rows]})


@router.get("", summary="List pharmacies")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, PHARMACY, after, limit)


@router.get("/{id}", summary="Read a pharmacy")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, PHARMACY, id)
