"""The next step of somebody who has shown a password: a second factor, its set-up, or the end."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from services.auth import accounts, factors, passkeys, sessions
from services.auth.pages import render, second, set_up
from services.auth.pages.finish import finish
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, Seen


def proceed(parts: Parts, request: Request, seen: Seen, flow: Flow) -> Response:
    """Who has a second factor shows it, whatever the product asks for; who has none sets one up where it is asked for.

    Raises FlowLost.
    """
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    with parts.database.tenant_reading(seen.person(tenant_id, user_id, flow.correlation_id)) as reading:
        account = accounts.find(reading, user_id)
        shown_lately = True
        if flow.session_id is not None:
            session = sessions.find(reading, UUID(flow.session_id), parts.settings.session_idle)
            shown_lately = session is not None and session.fresh
        owned = factors.of_user(reading, user_id)
        known = passkeys.ids_of(reading, [factor.id for factor in factors.of_kind(owned, "webauthn")])
    if account is None:
        raise FlowLost
    if factors.standing(owned):
        return second.page(parts, request, flow, owned, known)
    if account.needs_second_factor and "pwd" in flow.amr:
        return render.page(
            parts,
            request,
            "message.html",
            status=422,
            title="Your password needs a second factor",
            text="It is too short to be used alone, and your second factor was reset. Ask for a new link.",
            detail=None,
        )
    if flow.wants_two and not shown_lately:
        # Whoever sits at a screen that was left alone would set up a factor of their own.
        anew = replace(flow, tenant_id=None, user_id=None, amr=(), session_id=None)
        return render.page(parts, request, "login.html", flow=anew, failed=None, address="")
    if flow.wants_two:
        return set_up.page(parts, request, seen, flow)
    return finish(parts, request, seen, flow)
