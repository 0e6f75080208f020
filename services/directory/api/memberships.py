"""/v1/memberships: what happens to one once it is assigned."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.directory.commands import memberships
from services.directory.events import MEMBERSHIP
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/memberships", tags=["memberships"])


@router.post("/{id}/transfer", summary="Transfer a user to another place", status_code=201)
def transfer(id: UUID, body: memberships.TransferMembership, call: Commanding) -> Response:
    """Ends it and opens its successor elsewhere; the answer's state is the successor."""
    expected = call.expected_version
    return call.run(body, lambda transaction: memberships.transfer(transaction, id, expected, call.new_id, body))


@router.post("/{id}/end", summary="End a membership")
def end(id: UUID, body: memberships.EndMembership, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: memberships.end(transaction, id, expected, body))


@router.get("", summary="List memberships")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, MEMBERSHIP, after, limit)


@router.get("/{id}", summary="Read a membership")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, MEMBERSHIP, id)
