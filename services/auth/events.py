"""The domain events of auth, and the columns of the state that each carries as ``after``.

Nothing here proves anything: hashes, seeds and keys are in tables that no event shows. What only auth may know of an
event (address, browser, what was typed) goes beside it, encrypted under the person's own key.
"""

from __future__ import annotations

from services.shared.event import Aggregate, EventType

ACCOUNT = Aggregate("account", "auth", "accounts", key="user_id")
FACTOR = Aggregate("factor", "auth", "factors")
SESSION = Aggregate("session", "auth", "sessions")
GRANT = Aggregate("grant", "auth", "grants")
UPSTREAM = Aggregate("upstream", "auth", "upstreams")
UPSTREAM_LINK = Aggregate("upstream_link", "auth", "upstream_links")

AGGREGATES = (ACCOUNT, FACTOR, SESSION, GRANT, UPSTREAM, UPSTREAM_LINK)


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ACCOUNT_V1 = _columns(
    "user_id tenant_id has_password needs_second_factor failed_in_a_row locked_until version created_at updated_at"
)
_FACTOR_V1 = _columns("id tenant_id user_id kind label enrolled_at removed_at version")
_SESSION_V1 = _columns(
    "id tenant_id user_id amr acr upstream_id started_at authenticated_at expires_at ended_at ended_by version"
)
_GRANT_V1 = _columns("id tenant_id user_id session_id client_id scope granted_at revoked_at revoked_by version")
_UPSTREAM_V1 = _columns("id tenant_id slug name issuer client_id ended_at version created_at updated_at")
_UPSTREAM_LINK_V1 = _columns("id tenant_id upstream_id issuer subject user_id linked_at unlinked_at version")

ACCOUNT_OPENED = EventType("account.opened", 1, ACCOUNT, _ACCOUNT_V1)
ENROLMENT_OFFERED = EventType("enrolment.offered", 1, ACCOUNT, _ACCOUNT_V1)
PASSWORD_SET = EventType("password.set", 1, ACCOUNT, _ACCOUNT_V1)
LOGIN_FAILED = EventType("login.failed", 1, ACCOUNT, _ACCOUNT_V1)
FAILURES_CLEARED = EventType("failures.cleared", 1, ACCOUNT, _ACCOUNT_V1)
ACCOUNT_UNLOCKED = EventType("account.unlocked", 1, ACCOUNT, _ACCOUNT_V1)
FACTOR_ENROLLED = EventType("factor.enrolled", 1, FACTOR, _FACTOR_V1)
FACTOR_REMOVED = EventType("factor.removed", 1, FACTOR, _FACTOR_V1)
LOGIN_SUCCEEDED = EventType("login.succeeded", 1, SESSION, _SESSION_V1)
FACTORS_RESET = EventType("factors.reset", 1, ACCOUNT, _ACCOUNT_V1)
SESSION_RENEWED = EventType("session.renewed", 1, SESSION, _SESSION_V1)
SESSIONS_ENDED = EventType("sessions.ended", 1, ACCOUNT, _ACCOUNT_V1)
SESSION_ENDED = EventType("session.ended", 1, SESSION, _SESSION_V1)
GRANT_ISSUED = EventType("grant.issued", 1, GRANT, _GRANT_V1)
GRANT_REVOKED = EventType("grant.revoked", 1, GRANT, _GRANT_V1)
UPSTREAM_CONNECTED = EventType("upstream.connected", 1, UPSTREAM, _UPSTREAM_V1)
UPSTREAM_ENDED = EventType("upstream.ended", 1, UPSTREAM, _UPSTREAM_V1)
UPSTREAM_LINKED = EventType("upstream.linked", 1, UPSTREAM_LINK, _UPSTREAM_LINK_V1)
UPSTREAM_UNLINKED = EventType("upstream.unlinked", 1, UPSTREAM_LINK, _UPSTREAM_LINK_V1)
# Written by auth.reorganise (migrations/0015).
ACCOUNT_REHOMED = EventType("account.rehomed", 1, ACCOUNT, _ACCOUNT_V1)
FACTOR_REHOMED = EventType("factor.rehomed", 1, FACTOR, _FACTOR_V1)

ALL = (
    ACCOUNT_OPENED,
    ENROLMENT_OFFERED,
    PASSWORD_SET,
    LOGIN_FAILED,
    FAILURES_CLEARED,
    ACCOUNT_UNLOCKED,
    FACTORS_RESET,
    SESSIONS_ENDED,
    FACTOR_ENROLLED,
    FACTOR_REMOVED,
    LOGIN_SUCCEEDED,
    SESSION_RENEWED,
    SESSION_ENDED,
    GRANT_ISSUED,
    GRANT_REVOKED,
    UPSTREAM_CONNECTED,
    UPSTREAM_ENDED,
    UPSTREAM_LINKED,
    UPSTREAM_UNLINKED,
    ACCOUNT_REHOMED,
    FACTOR_REHOMED,
)
