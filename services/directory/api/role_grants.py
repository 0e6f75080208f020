"""/v1/role-grants: what happens to one once it is given."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.directory.commands import role_grants
from services.directory.events import ROLE_GRANT
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/role-grants", tags=["role grants"])


@router.post("/{id}/revoke", summary="Revoke a role")
def revoke(id: UUID, body: role_grants.RevokeRole, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: role_grants.revoke(transaction, id, expected))


@router.get("", summary="List granted roles")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, ROLE_GRANT, after, limit)


@router.get("/{id}", summary="Read a granted role")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, ROLE_GRANT, id)
