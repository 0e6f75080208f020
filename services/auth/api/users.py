"""/v1/users: let a user in, or back in."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.auth import accounts, credentials, factors, people, sessions
from services.auth.events import ENROLMENT_OFFERED, FACTORS_RESET, SECRETS_SHREDDED, SESSIONS_ENDED
from services.auth.handle import Handle
from services.auth.parts import WithParts
from services.auth.secrets import shred
from services.shared.errors import Conflict, NotFound
from services.shared.transaction import TenantTransaction
from services.web.call import Commanding, Done
from services.web.fields import Command

router = APIRouter(prefix="/users", tags=["users"])


class OfferEnrolment(Command):
    """A link with which the user chooses a password, once, within 72 hours; earlier links stop working."""


class Unlock(Command):
    """Forget the failures in a row."""


class ResetFactors(Command):
    """The user has lost every second factor: remove them, and log the user out everywhere."""


class ShredSecrets(Command):
    """Make unreadable for ever from where, and with what, this user logged in; the events themselves stay."""


class EndSessions(Command):
    """Log the user out everywhere."""


@router.post("/{id}/enrolment", summary="Offer a user a link to set up their login", status_code=200)
def offer_enrolment(id: UUID, body: OfferEnrolment, call: Commanding, parts: WithParts) -> Response:
    """The link is in the header ``Location`` and is kept nowhere: bring it to the user, and to nobody else."""
    tenant_id = call.caller.context.tenant_id
    # Made from the key, so that a repeated request answers with the same link.
    handle = Handle(tenant_id, parts.vault.digest("enrolment", f"{tenant_id}/{id}/{call.key}"))

    def offer(transaction: TenantTransaction) -> Done:
        person = people.find(transaction, id)
        if person is None:
            raise NotFound(f"there is no user {id}")
        if not person.may_enrol:
            raise Conflict(f"the user is {person.status}", fix="activate the user in the directory first")
        account = accounts.open_for(transaction, id)
        credentials.offer_enrolment(transaction, id, handle)
        return Done.of(accounts.change(transaction, account, ENROLMENT_OFFERED))

    response = call.run(body, offer)
    response.headers["Location"] = f"{parts.settings.issuer}/enrol?token={handle.text}"
    return response


@router.post("/{id}/unlock", summary="Unlock a user's account")
def unlock(id: UUID, body: Unlock, call: Commanding) -> Response:
    return call.run(body, lambda transaction: Done.of(accounts.unlock(transaction, _account(transaction, id))))


@router.post("/{id}/end-sessions", summary="Log a user out everywhere")
def end_sessions(id: UUID, body: EndSessions, call: Commanding) -> Response:
    """Each session's end is an event of its own; the answer's state is the account."""

    def end(transaction: TenantTransaction) -> Done:
        account = _account(transaction, id)
        sessions.end_all(transaction, id, "operator")
        return Done.of(accounts.change(transaction, account, SESSIONS_ENDED))

    return call.run(body, end)


@router.post("/{id}/reset-factors", summary="Remove a user's second factors")
def reset_factors(id: UUID, body: ResetFactors, call: Commanding) -> Response:
    """Check first who is asking: a caller's voice proves nothing. A short password stops working until a new link is
    used; with a long one, the user sets up a new factor when they next need it."""

    def reset(transaction: TenantTransaction) -> Done:
        account = _account(transaction, id)
        factors.remove_all(transaction, id)
        sessions.end_all(transaction, id, "factor_changed")
        return Done.of(accounts.change(transaction, account, FACTORS_RESET))

    return call.run(body, reset)


@router.post("/{id}/shred-secrets", summary="Shred what is kept apart about a user")
def shred_secrets(id: UUID, body: ShredSecrets, call: Commanding) -> Response:
    """Deletes the user's key: what was sealed under it is gone here, in every backup and in every copy. A later login
    is sealed under a new key."""

    def carry_out(transaction: TenantTransaction) -> Done:
        account = _account(transaction, id)
        shred(transaction, id)
        return Done.of(accounts.change(transaction, account, SECRETS_SHREDDED))

    return call.run(body, carry_out)


def _account(transaction: TenantTransaction, user_id: UUID) -> accounts.Account:
    account = accounts.lock(transaction, user_id)
    if account is None:
        raise NotFound(f"user {user_id} has no account", fix="offer an enrolment first, and check the tenant")
    return account
