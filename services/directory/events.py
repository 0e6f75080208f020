"""The domain events of the directory, and the schema version of the state that each carries as ``after``.

A version's JSON schema is ``states/<aggregate>.v<n>.json``. A table that gains or loses a column needs a new one
(``python -m services.journal schema``) and an upcaster; recording refuses a row that differs from its schema, so that a
reader of version n may rely on its fields. A schema that was shipped is never edited.
"""

from __future__ import annotations

from pathlib import Path

from services.shared.event import Aggregate, EventType

TENANT = Aggregate("tenant", "directory", "tenants", key="tenant_id")
ORGANISATION = Aggregate("organisation", "directory", "organisations")
PHARMACY = Aggregate("pharmacy", "directory", "pharmacies")
PHARMACY_CODE = Aggregate("pharmacy_code", "directory", "pharmacy_codes")
USER = Aggregate("user", "directory", "users")
MEMBERSHIP = Aggregate("membership", "directory", "memberships")
ROLE_GRANT = Aggregate("role_grant", "directory", "role_grants")
# Each after those that it refers to.
AGGREGATES = (TENANT, ORGANISATION, PHARMACY, PHARMACY_CODE, USER, MEMBERSHIP, ROLE_GRANT)

STATES = Path(__file__).with_name("states")


def _event(name: str, version: int, aggregate: Aggregate, *, since: int = 1) -> EventType:
    return EventType.of(STATES, name, version, aggregate, since=since)


TENANT_CREATED = _event("tenant.created", 2, TENANT)
TENANT_RENAMED = _event("tenant.renamed", 2, TENANT)
ORGANISATION_REGISTERED = _event("organisation.registered", 2, ORGANISATION)
ORGANISATION_RENAMED = _event("organisation.renamed", 2, ORGANISATION)
ORGANISATION_MOVED = _event("organisation.moved", 2, ORGANISATION, since=2)
ORGANISATION_CLOSED = _event("organisation.closed", 2, ORGANISATION, since=2)
PHARMACY_REGISTERED = _event("pharmacy.registered", 2, PHARMACY)
PHARMACY_TRANSFERRED = _event("pharmacy.transferred", 2, PHARMACY)
PHARMACY_DESIGNATED = _event("pharmacy.designated", 2, PHARMACY, since=2)
PHARMACY_RENAMED = _event("pharmacy.renamed", 2, PHARMACY, since=2)
PHARMACY_CLOSED = _event("pharmacy.closed", 2, PHARMACY, since=2)
PHARMACY_CODE_DESIGNATED = _event("pharmacy_code.designated", 1, PHARMACY_CODE)
USER_INVITED = _event("user.invited", 1, USER)
USER_ACTIVATED = _event("user.activated", 1, USER)
USER_SUSPENDED = _event("user.suspended", 1, USER)
USER_RETIRED = _event("user.retired", 1, USER)
USER_RENAMED = _event("user.renamed", 1, USER)
USER_IDENTIFIED = _event("user.identified", 1, USER)
MEMBERSHIP_ASSIGNED = _event("membership.assigned", 1, MEMBERSHIP)
MEMBERSHIP_ENDED = _event("membership.ended", 1, MEMBERSHIP)
ROLE_GRANTED = _event("role.granted", 1, ROLE_GRANT)
ROLE_REVOKED = _event("role.revoked", 1, ROLE_GRANT)

# Written by directory.reorganise (migrations/0016), not by a command here; its versions are held to these by a test.
TENANT_MERGED = _event("tenant.merged", 2, TENANT, since=2)
TENANT_SPLIT = _event("tenant.split", 2, TENANT, since=2)
TENANT_CEDED = _event("tenant.ceded", 2, TENANT, since=2)
ORGANISATION_REHOMED = _event("organisation.rehomed", 2, ORGANISATION, since=2)
PHARMACY_REHOMED = _event("pharmacy.rehomed", 2, PHARMACY, since=2)
PHARMACY_CODE_REHOMED = _event("pharmacy_code.rehomed", 1, PHARMACY_CODE)
USER_REHOMED = _event("user.rehomed", 1, USER)
MEMBERSHIP_REHOMED = _event("membership.rehomed", 1, MEMBERSHIP)
ROLE_REHOMED = _event("role.rehomed", 1, ROLE_GRANT)
REORGANISED = (
    TENANT_MERGED,
    TENANT_SPLIT,
    TENANT_CEDED,
    ORGANISATION_REHOMED,
    PHARMACY_REHOMED,
    PHARMACY_CODE_REHOMED,
    USER_REHOMED,
    MEMBERSHIP_REHOMED,
    ROLE_REHOMED,
)

ALL = (
    TENANT_CREATED,
    TENANT_RENAMED,
    ORGANISATION_REGISTERED,
    ORGANISATION_RENAMED,
    ORGANISATION_MOVED,
    ORGANISATION_CLOSED,
    PHARMACY_REGISTERED,
    PHARMACY_TRANSFERRED,
    PHARMACY_DESIGNATED,
    PHARMACY_RENAMED,
    PHARMACY_CLOSED,
    PHARMACY_CODE_DESIGNATED,
    USER_INVITED,
    USER_ACTIVATED,
    USER_SUSPENDED,
    USER_RETIRED,
    USER_RENAMED,
    USER_IDENTIFIED,
    MEMBERSHIP_ASSIGNED,
    MEMBERSHIP_ENDED,
    ROLE_GRANTED,
    ROLE_REVOKED,
    *REORGANISED,
)
