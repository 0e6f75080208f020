"""The domain events of auth, and the schema version of the state that each carries as ``after``: see directory's.

Nothing here proves anything: hashes, seeds and keys are in tables that no event shows. What only auth may know of an
event (address, browser, what was typed) goes beside it, encrypted under the person's own key.
"""

from __future__ import annotations

from pathlib import Path

from services.shared.event import Aggregate, EventType

ACCOUNT = Aggregate("account", "auth", "accounts", key="user_id")
FACTOR = Aggregate("factor", "auth", "factors")
SESSION = Aggregate("session", "auth", "sessions")
GRANT = Aggregate("grant", "auth", "grants")
UPSTREAM = Aggregate("upstream", "auth", "upstreams")
UPSTREAM_LINK = Aggregate("upstream_link", "auth", "upstream_links")

# What operators configure for every tenant: these events belong to nobody (handle.NOBODY).
CLIENT = Aggregate("client", "auth", "clients")
SIGNING_KEY = Aggregate("signing_key", "auth", "signing_keys")

# Each after those that it refers to.
AGGREGATES = (CLIENT, SIGNING_KEY, ACCOUNT, FACTOR, UPSTREAM, SESSION, GRANT, UPSTREAM_LINK)


STATES = Path(__file__).with_name("states")


def _event(name: str, version: int, aggregate: Aggregate) -> EventType:
    return EventType.of(STATES, name, version, aggregate)


ACCOUNT_OPENED = _event("account.opened", 1, ACCOUNT)
ENROLMENT_OFFERED = _event("enrolment.offered", 1, ACCOUNT)
PASSWORD_SET = _event("password.set", 1, ACCOUNT)
LOGIN_FAILED = _event("login.failed", 1, ACCOUNT)
FAILURES_CLEARED = _event("failures.cleared", 1, ACCOUNT)
ACCOUNT_UNLOCKED = _event("account.unlocked", 1, ACCOUNT)
SECRETS_SHREDDED = _event("secrets.shredded", 1, ACCOUNT)
FACTOR_ENROLLED = _event("factor.enrolled", 1, FACTOR)
FACTOR_REMOVED = _event("factor.removed", 1, FACTOR)
LOGIN_SUCCEEDED = _event("login.succeeded", 1, SESSION)
FACTORS_RESET = _event("factors.reset", 1, ACCOUNT)
SESSION_RENEWED = _event("session.renewed", 1, SESSION)
SESSIONS_ENDED = _event("sessions.ended", 1, ACCOUNT)
SESSION_ENDED = _event("session.ended", 1, SESSION)
GRANT_ISSUED = _event("grant.issued", 1, GRANT)
GRANT_REVOKED = _event("grant.revoked", 1, GRANT)
UPSTREAM_CONNECTED = _event("upstream.connected", 1, UPSTREAM)
UPSTREAM_ENDED = _event("upstream.ended", 1, UPSTREAM)
UPSTREAM_LINKED = _event("upstream.linked", 1, UPSTREAM_LINK)
UPSTREAM_UNLINKED = _event("upstream.unlinked", 1, UPSTREAM_LINK)
CLIENT_REGISTERED = _event("client.registered", 1, CLIENT)
CLIENT_SECRET_ADDED = _event("client_secret.added", 1, CLIENT)
CLIENT_SECRETS_ENDED = _event("client_secrets.ended", 1, CLIENT)
CLIENT_ENDED = _event("client.ended", 1, CLIENT)
SIGNING_KEY_MADE = _event("signing_key.made", 1, SIGNING_KEY)
SIGNING_KEY_PROMOTED = _event("signing_key.promoted", 1, SIGNING_KEY)
SIGNING_KEY_RETIRED = _event("signing_key.retired", 1, SIGNING_KEY)
# Written by auth.reorganise (migrations/0015).
ACCOUNT_REHOMED = _event("account.rehomed", 1, ACCOUNT)
FACTOR_REHOMED = _event("factor.rehomed", 1, FACTOR)

ALL = (
    ACCOUNT_OPENED,
    ENROLMENT_OFFERED,
    PASSWORD_SET,
    LOGIN_FAILED,
    FAILURES_CLEARED,
    ACCOUNT_UNLOCKED,
    FACTORS_RESET,
    SECRETS_SHREDDED,
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
    CLIENT_REGISTERED,
    CLIENT_SECRET_ADDED,
    CLIENT_SECRETS_ENDED,
    CLIENT_ENDED,
    SIGNING_KEY_MADE,
    SIGNING_KEY_PROMOTED,
    SIGNING_KEY_RETIRED,
    ACCOUNT_REHOMED,
    FACTOR_REHOMED,
)
