"""/second: a second factor, after the password, or when a product asks for more than was shown so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import accounts, factors, passkeys, recovery, totp
from services.auth.factors import Factor
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.fields import Field
from services.auth.pages.finish import go_on, leave, log_in
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.secrets import keep_apart
from services.auth.vault import Vault
from services.shared.transaction import TenantTransaction

router = APIRouter(tags=["pages"], include_in_schema=False)
_FAILED = "That didn't work. Wait for the next code, or use a recovery code. After five failures you have to wait."


def page(
    parts: Parts,
    request: Request,
    flow: Flow,
    owned: Sequence[Factor],
    known: Sequence[bytes],
    failed: str | None = None,
) -> Response:
    """``known``: the ids of the person's passkeys."""
    if flow.challenge is None:
        flow = replace(flow, challenge=passkeys.new_challenge())
    assert flow.challenge is not None
    return render.page(
        parts,
        request,
        "second.html",
        status=422 if failed else 200,
        flow=flow,
        app=bool(factors.of_kind(owned, "totp")),
        recovery=bool(factors.of_kind(owned, "recovery")),
        options=passkeys.request_options(parts.settings, flow.challenge, known) if known else None,
        failed=failed,
    )


@router.post("/second")
def enter(request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", code: Field = "") -> Response:
    """A code of the app, or a recovery code."""

    def shown(transaction: TenantTransaction, _: Flow, owned: Sequence[Factor]) -> str | None:
        return "otp" if _accepted(transaction, parts.vault, owned, code) else None

    return _show(parts, request, seen, flows.unpack(parts, request, flow), shown)


@router.post("/second/passkey")
def sign(request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", answer: Field = "") -> Response:
    def shown(transaction: TenantTransaction, begun: Flow, owned: Sequence[Factor]) -> str | None:
        if begun.challenge is None:
            raise FlowLost
        own = [factor.id for factor in factors.of_kind(owned, "webauthn")]
        return passkeys.accept(transaction, parts.settings, begun.challenge, own, answer)

    return _show(parts, request, seen, flows.unpack(parts, request, flow), shown)


def _show(
    parts: Parts,
    request: Request,
    seen: Seen,
    flow: Flow,
    shown: Callable[[TenantTransaction, Flow, Sequence[Factor]], str | None],
) -> Response:
    """Log in with what was shown, or count a failure: while the account is locked, nothing is even looked at."""
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, flow.correlation_id)) as transaction:
        account = accounts.lock(transaction, user_id)
        if account is None:
            raise FlowLost
        owned = factors.of_user(transaction, user_id)
        known = passkeys.ids_of(transaction, [factor.id for factor in factors.of_kind(owned, "webauthn")])
        how = None if account.locked else shown(transaction, flow, owned)
        if how is not None:
            proved = flow.proved(how)
            logged_in = log_in(parts, request, seen, transaction, proved)
            response = go_on(parts, transaction, proved, logged_in)
        else:
            event = accounts.fail(transaction, account)
            keep_apart(transaction, parts.vault, event, user_id, seen.told(how="second factor"))
    if how is None:
        return page(parts, request, flow, owned, known, _FAILED)
    return leave(parts, request, seen, response, logged_in)


def _accepted(transaction: TenantTransaction, vault: Vault, owned: Sequence[Factor], code: str) -> bool:
    def tried(factor: Factor) -> bool:
        match factor.kind:
            case "totp":
                return totp.accept(transaction, vault, factor.id, code)
            case "recovery":
                return recovery.accept(transaction, vault, factor.id, code)
            case "webauthn":
                return False
            case _:
                assert_never(factor.kind)

    return any(tried(factor) for factor in owned)
