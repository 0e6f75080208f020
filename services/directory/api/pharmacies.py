"""/v1/pharmacies."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.directory.commands import pharmacies
from services.directory.events import PHARMACY
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/pharmacies", tags=["pharmacies"])


@router.post("", status_code=201)
def register(body: pharmacies.RegisterPharmacy, call: Commanding) -> Response:
    return call.run(body, lambda transaction: pharmacies.register(transaction, call.new_id, body))


@router.post("/{id}/transfer")
def transfer(id: UUID, body: pharmacies.TransferPharmacy, call: Commanding) -> Response:
    """It changes hands: another organisation of the tenant runs it from now on."""
    expected = call.expected_version
    return call.run(body, lambda transaction: pharmacies.transfer(transaction, id, expected, body))


@router.get("")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, PHARMACY, after, limit)


@router.get("/{id}")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, PHARMACY, id)
