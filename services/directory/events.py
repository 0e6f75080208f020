"""The domain events of the directory, and the columns of the state that each carries as ``after``.

A table that gains or loses a column needs new schema versions here: recording refuses what isn't declared, so that a
reader of version n may rely on its fields.
"""

from __future__ import annotations

from services.shared.event import Aggregate, EventType

TENANT = Aggregate("tenant", "directory", "tenants", key="tenant_id")
ORGANISATION = Aggregate("organisation", "directory", "organisations")
PHARMACY = Aggregate("pharmacy", "directory", "pharmacies")
USER = Aggregate("user", "directory", "users")
MEMBERSHIP = Aggregate("membership", "directory", "memberships")
ROLE_GRANT = Aggregate("role_grant", "directory", "role_grants")
AGGREGATES = (TENANT, ORGANISATION, PHARMACY, USER, MEMBERSHIP, ROLE_GRANT)


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TENANT_V1 = _columns("tenant_id name kana corporate_number pharmacy_limit version created_at updated_at")
_ORGANISATION_V1 = _columns("id tenant_id parent_id kind name kana aliases version created_at updated_at")
_PHARMACY_V1 = _columns(
    "id tenant_id organisation_id name kana code code_valid_from prefecture opened_on dispensing_area_m2 "
    "opening_hours services accepts_e_prescription version created_at updated_at"
)
_USER_V1 = _columns("id tenant_id name kana status is_pharmacist hired_on retired_on version created_at updated_at")
_MEMBERSHIP_V1 = _columns(
    "id tenant_id user_id organisation_id pharmacy_id is_primary weekly_hours valid_from valid_to "
    "version created_at updated_at"
)
_ROLE_GRANT_V1 = _columns(
    "id tenant_id user_id role organisation_id pharmacy_id granted_by granted_at revoked_by revoked_at "
    "version created_at updated_at"
)

TENANT_CREATED = EventType("tenant.created", 1, TENANT, _TENANT_V1)
ORGANISATION_REGISTERED = EventType("organisation.registered", 1, ORGANISATION, _ORGANISATION_V1)
ORGANISATION_RENAMED = EventType("organisation.renamed", 1, ORGANISATION, _ORGANISATION_V1)
PHARMACY_REGISTERED = EventType("pharmacy.registered", 1, PHARMACY, _PHARMACY_V1)
PHARMACY_TRANSFERRED = EventType("pharmacy.transferred", 1, PHARMACY, _PHARMACY_V1)
USER_INVITED = EventType("user.invited", 1, USER, _USER_V1)
USER_ACTIVATED = EventType("user.activated", 1, USER, _USER_V1)
USER_SUSPENDED = EventType("user.suspended", 1, USER, _USER_V1)
USER_RETIRED = EventType("user.retired", 1, USER, _USER_V1)
MEMBERSHIP_ASSIGNED = EventType("membership.assigned", 1, MEMBERSHIP, _MEMBERSHIP_V1)
MEMBERSHIP_ENDED = EventType("membership.ended", 1, MEMBERSHIP, _MEMBERSHIP_V1)
ROLE_GRANTED = EventType("role.granted", 1, ROLE_GRANT, _ROLE_GRANT_V1)
ROLE_REVOKED = EventType("role.revoked", 1, ROLE_GRANT, _ROLE_GRANT_V1)

ALL = (
    TENANT_CREATED,
    ORGANISATION_REGISTERED,
    ORGANISATION_RENAMED,
    PHARMACY_REGISTERED,
    PHARMACY_TRANSFERRED,
    USER_INVITED,
    USER_ACTIVATED,
    USER_SUSPENDED,
    USER_RETIRED,
    MEMBERSHIP_ASSIGNED,
    MEMBERSHIP_ENDED,
    ROLE_GRANTED,
    ROLE_REVOKED,
)
