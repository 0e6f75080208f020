"""/v1/users, with what is assigned and granted to them."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from services.directory.commands import memberships, role_grants, users
from services.directory.events import USER
from services.shared.errors import NotFound
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", summary="Invite a user", status_code=201)
def invite(body: users.InviteUser, call: Commanding) -> Response:
    return call.run(body, lambda transaction: users.invite(transaction, call.new_id, body))


@router.post("/{id}/activate", summary="Activate a user")
def activate(id: UUID, body: users.ActivateUser, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: users.activate(transaction, id, expected))


@router.post("/{id}/suspend", summary="Suspend a user")
def suspend(id: UUID, body: users.SuspendUser, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: users.suspend(transaction, id, expected))


@router.post("/{id}/retire", summary="Retire a user")
def retire(id: UUID, body: users.RetireUser, call: Commanding) -> Response:
    """Ends the user's memberships and roles too."""
    expected = call.expected_version
    return call.run(body, lambda transaction: users.retire(transaction, id, expected, body))


@router.post("/{id}/rename", summary="Rename a user")
def rename(id: UUID, body: users.RenameUser, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: users.rename(transaction, id, expected, body))


@router.post("/{id}/identify", summary="Change a user's e-mail address")
def identify(id: UUID, body: users.IdentifyUser, call: Commanding) -> Response:
    """Another e-mail address to log in with."""
    expected = call.expected_version
    return call.run(body, lambda transaction: users.identify(transaction, id, expected, body))


@router.post("/{id}/memberships", summary="Assign a user to a place", status_code=201)
def assign(id: UUID, body: memberships.AssignMembership, call: Commanding) -> Response:
    return call.run(body, lambda transaction: memberships.assign(transaction, call.new_id, id, body))


@router.post("/{id}/role-grants", summary="Grant a user a role", status_code=201)
def grant(id: UUID, body: role_grants.GrantRole, call: Commanding) -> Response:
    return call.run(body, lambda transaction: role_grants.grant(transaction, call.new_id, id, body))


@router.get("", summary="List users")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, USER, after, limit)


@router.get("/{id}", summary="Read a user")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, USER, id)


@router.get("/{id}/access", summary="Read what a user may do now")
def access(id: UUID, caller: Reading) -> Response:
    """What the user may do now: status, open memberships, roles in force; all of one snapshot."""
    with caller.database.tenant_reading(caller.context) as reading:
        key = (reading.tenant_id, id)
        user = reading.row(
            "SELECT to_jsonb(state) AS state FROM directory.users AS state WHERE tenant_id = %s AND id = %s", key
        )
        if user is None:
            raise NotFound(f"there is no user {id}")
        belongs = reading.rows(
            "SELECT to_jsonb(state) AS state FROM directory.memberships AS state "
            "WHERE tenant_id = %s AND user_id = %s AND valid_to IS NULL ORDER BY id",
            key,
        )
        granted = reading.rows(
            "SELECT to_jsonb(state) AS state FROM directory.role_grants AS state "
            "WHERE tenant_id = %s AND user_id = %s AND revoked_at IS NULL ORDER BY id",
            key,
        )
    return JSONResponse(
        {
            "user": user["state"],
            "memberships": [row["state"] for row in belongs],
            "role_grants": [row["state"] for row in granted],
        }
    )
