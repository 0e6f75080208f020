"""/set-up: a new second factor, while logging in or from the account. It counts once it has been shown to work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import accounts, credentials, factors, passkeys, people, recovery, totp
from services.auth.factors import Kind
from services.auth.handle import Handle
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.fields import Field
from services.auth.pages.finish import leave, log_in
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.shared.transaction import TenantTransaction
from services.web.fields import printable

router = APIRouter(tags=["pages"], include_in_schema=False)
_NO_PASSKEY = "The browser's answer wasn't the right one. Try again, or use an app."
_KNOWN = "You have this passkey already."
MOST = 10  # second factors of one person
_WRONG = "That isn't the code that the app shows now. Check that the phone sets its clock by itself, and try again."


def page(parts: Parts, request: Request, seen: Seen, flow: Flow, failed: str | None = None) -> Response:
    """Raises FlowLost."""
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    if flow.seed is None or flow.challenge is None:
        flow = replace(flow, seed=totp.new_seed(), challenge=passkeys.new_challenge())
    assert flow.seed is not None and flow.challenge is not None
    with parts.database.tenant_reading(seen.person(tenant_id, user_id)) as reading:
        address = people.address_of(reading, user_id)
        known = passkeys.ids_of(reading, _passkeys(reading, user_id))
    return render.page(
        parts,
        request,
        "set_up.html",
        status=422 if failed else 200,
        flow=flow,
        qr_code=totp.qr_code(totp.address(flow.seed, person=address, issuer=parts.settings.host)),
        options=passkeys.creation_options(parts.settings, flow.challenge, user_id, address, known),
        seed=" ".join(flow.seed[i : i + 4] for i in range(0, len(flow.seed), 4)),
        failed=failed,
    )


@router.post("/set-up/app")
def confirm_app(
    request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", code: Field = "", label: Field = ""
) -> Response:
    """The app's first code proves that the seed has arrived."""
    begun = flows.unpack(parts, request, flow)
    if begun.seed is None:
        raise FlowLost
    seed, step = begun.seed, totp.matching_step(begun.seed, code, after=0)
    if step is None:
        return page(parts, request, seen, begun, _WRONG)

    def keep(transaction: TenantTransaction, factor_id: UUID) -> None:
        totp.keep(transaction, parts.vault, factor_id, seed, step)

    return complete(parts, request, seen, begun, "totp", _label(label, "Authenticator app"), ("otp",), keep)


@router.post("/set-up/passkey")
def confirm_passkey(
    request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", answer: Field = "", label: Field = ""
) -> Response:
    begun = flows.unpack(parts, request, flow)
    if begun.challenge is None or begun.whose is None:
        raise FlowLost
    created = passkeys.created(parts.settings, begun.challenge, answer)
    if created is None:
        return page(parts, request, seen, begun, _NO_PASSKEY)
    tenant_id, user_id = begun.whose
    with parts.database.tenant_reading(seen.person(tenant_id, user_id)) as reading:
        if created.credential_id in passkeys.ids_of(reading, _passkeys(reading, user_id)):
            return page(parts, request, seen, begun, _KNOWN)

    def keep(transaction: TenantTransaction, factor_id: UUID) -> None:
        passkeys.keep(transaction, factor_id, created)

    return complete(parts, request, seen, begun, "webauthn", _label(label, "Passkey"), (created.amr,), keep)


def complete(
    parts: Parts,
    request: Request,
    seen: Seen,
    flow: Flow,
    kind: Kind,
    label: str,
    amr: tuple[str, ...],
    keep: Callable[[TenantTransaction, UUID], None],
) -> Response:
    """The factor, with what proves it, and the login that it completes, in one transaction; codes with the first."""
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, flow.correlation_id)) as transaction:
        account = accounts.lock(transaction, user_id) if flow.password is None else _with_password(transaction, flow)
        owned = factors.of_user(transaction, user_id)
        # One factor alone doesn't add to what is there, also when the other came while this page was open.
        if account is None or (factors.standing(owned) and "mfa" not in flow.amr) or len(owned) > MOST:
            raise FlowLost
        keep(transaction, factors.enrol(transaction, user_id, kind, label))
        codes = [] if factors.of_kind(owned, "recovery") else recovery.renew(transaction, parts.vault, user_id)
        person = people.find(transaction, user_id)
        if flow.password is not None and person is not None and person.may_enrol and not person.may_log_in:
            logged_in = None  # invited, and not active yet: prepared for the day
        else:
            logged_in = log_in(parts, request, seen, transaction, flow.proved(*amr))
    response = render.page(parts, request, "codes.html", codes=codes, onward=flow.onward)
    return leave(parts, request, seen, response, logged_in) if logged_in is not None else response


def _with_password(transaction: TenantTransaction, flow: Flow) -> accounts.Account | None:
    """The short password comes into force together with the factor that it needs."""
    assert flow.whose is not None and flow.password is not None
    user_id = flow.whose[1]
    link = Handle.parse(flow.password["link"])
    enrolment = credentials.enrolment(transaction, link, for_update=True) if link is not None else None
    if link is None or enrolment is None or not enrolment.open or enrolment.user_id != user_id:
        raise FlowLost
    credentials.use_enrolment(transaction, link)
    credentials.choose_password(transaction, user_id, flow.password["hash"], stands_alone=False)
    return accounts.lock(transaction, user_id)


def _passkeys(transaction: TenantTransaction, user_id: UUID) -> list[UUID]:
    return [factor.id for factor in factors.of_kind(factors.of_user(transaction, user_id), "webauthn")]


def _label(told: str, otherwise: str) -> str:
    try:
        return printable(told.strip())[:100] or otherwise
    except ValueError:
        return otherwise
