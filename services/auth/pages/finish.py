"""The end of a login: a session in this browser, and back to where the login was for."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from services.auth import login, sessions
from services.auth.login import LoggedIn
from services.auth.pages.browser import handle_of, remember
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, Seen
from services.auth.protocol.provider import Provider
from services.auth.protocol.wire import WireRequest
from services.shared.transaction import TenantTransaction


def finish(parts: Parts, request: Request, seen: Seen, flow: Flow) -> Response:
    """Raises FlowLost for somebody who may not log in any more."""
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, flow.correlation_id)) as transaction:
        logged_in = log_in(parts, request, seen, transaction, flow)
        response = go_on(parts, transaction, flow, logged_in)
    return leave(parts, request, seen, response, logged_in)


def log_in(parts: Parts, request: Request, seen: Seen, transaction: TenantTransaction, flow: Flow) -> LoggedIn:
    """The same person's session in this browser is proved anew, anybody else gets one of their own. Raises FlowLost."""
    assert flow.whose is not None
    earlier = handle_of(parts, request)
    own = (
        sessions.of_handle(transaction, earlier, parts.settings.session_idle)
        if earlier is not None and earlier.tenant_id == transaction.tenant_id
        else None
    )
    if own is not None and own.user_id != flow.whose[1]:
        own = None
    if flow.session_id is not None and (own is None or str(own.id) != flow.session_id):
        raise FlowLost  # logged out meanwhile
    if flow.wants_two and "mfa" not in flow.amr:
        raise FlowLost
    logged_in = login.finish(
        parts,
        seen,
        transaction,
        flow.whose[1],
        flow.amr,
        upstream_id=UUID(flow.upstream_id) if flow.upstream_id is not None else None,
        renews=own,
    )
    if logged_in is None:
        raise FlowLost
    return logged_in


def go_on(parts: Parts, transaction: TenantTransaction, flow: Flow, logged_in: LoggedIn) -> Response:
    if flow.authorize is None:
        return RedirectResponse(flow.page, 303)
    provider = Provider(parts.settings, parts.keys, transaction)
    return provider.authorize(WireRequest("GET", flow.asked), logged_in.session).response()


def leave(parts: Parts, request: Request, seen: Seen, response: Response, logged_in: LoggedIn) -> Response:
    """After the commit: the browser keeps the new handle; whoever was logged in there before isn't any more."""
    earlier = handle_of(parts, request)
    if earlier is not None and earlier.hash != logged_in.handle.hash:
        with parts.database.tenant_transaction(seen.product(earlier.tenant_id)) as transaction:
            other = sessions.of_handle(transaction, earlier, parts.settings.session_idle)
            if other is not None:
                sessions.end(transaction, other.id, "replaced")
    remember(parts, response, logged_in.handle)
    return response
