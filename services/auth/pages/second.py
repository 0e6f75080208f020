"""/second: a second factor, after the password, or when a product asks for more than was shown so far."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import accounts, factors, recovery, totp
from services.auth.factors import Factor
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.fields import Field
from services.auth.pages.finish import go_on, leave, log_in
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, WithParts, WithSeen
from services.auth.secrets import keep_apart
from services.auth.vault import Vault
from services.shared.transaction import TenantTransaction

router = APIRouter(tags=["pages"], include_in_schema=False)
_FAILED = "That didn't work. Wait for the next code, or use a recovery code. After five failures you have to wait."


def page(parts: Parts, request: Request, flow: Flow, owned: Sequence[Factor], failed: str | None = None) -> Response:
    return render.page(
        parts,
        request,
        "second.html",
        status=422 if failed else 200,
        flow=flow,
        app=bool(factors.of_kind(owned, "totp")),
        recovery=bool(factors.of_kind(owned, "recovery")),
        failed=failed,
    )


@router.post("/second")
def enter(request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", code: Field = "") -> Response:
    """A code of the app, or a recovery code."""
    begun = flows.unpack(parts, request, flow)
    if begun.whose is None:
        raise FlowLost
    tenant_id, user_id = begun.whose
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, begun.correlation_id)) as transaction:
        account = accounts.lock(transaction, user_id)
        if account is None:
            raise FlowLost
        owned = factors.of_user(transaction, user_id)
        if not account.locked and _accepted(transaction, parts.vault, owned, code):
            proved = begun.proved("otp")
            logged_in = log_in(parts, request, seen, transaction, proved)
            response = go_on(parts, transaction, proved, logged_in)
        else:
            event = accounts.fail(transaction, account)
            keep_apart(transaction, parts.vault, event, user_id, seen.told(how="second factor"))
            logged_in = None
    if logged_in is None:
        return page(parts, request, begun, owned, _FAILED)
    return leave(parts, request, seen, response, logged_in)


def _accepted(transaction: TenantTransaction, vault: Vault, owned: Sequence[Factor], code: str) -> bool:
    def tried(factor_id: UUID, kind: str) -> bool:
        match kind:
            case "totp":
                return totp.accept(transaction, vault, factor_id, code)
            case "recovery":
                return recovery.accept(transaction, vault, factor_id, code)
            case _:
                return False

    return any(tried(factor.id, factor.kind) for factor in owned)
