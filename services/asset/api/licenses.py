"""/v1/licenses: their seats, and who gets one."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.asset.commands import assignments, licenses
from services.asset.events import LICENSE
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/licenses", tags=["licenses"])


@router.post("/{id}/resize", summary="Change a license's number of seats")
def resize(id: UUID, body: licenses.ResizeLicense, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: licenses.resize(transaction, id, expected, body))


@router.post("/{id}/assignments", summary="Assign a seat", status_code=201)
def assign(id: UUID, body: assignments.AssignSeat, call: Commanding) -> Response:
    """The lowest free seat; 409 when there is none."""
    return call.run(body, lambda transaction: assignments.assign(transaction, call.new_id, id, body))


@router.get("", summary="List licenses")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, LICENSE, after, limit)


@router.get("/{id}", summary="Read a license")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, LICENSE, id)
