"""Access and id tokens: what they say, and for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.auth import grants, people, sessions
from services.auth.clients import Client
from services.auth.grants import Grant
from services.auth.keys import Keys
from services.auth.people import Person
from services.auth.sessions import Session
from services.auth.settings import Settings
from services.shared.transaction import TenantTransaction

# Short: within this time whoever checks only the signature doesn't notice a logout. Introspection does at once.
ACCESS_TOKEN_LIFE = timedelta(minutes=10)
ID_TOKEN_LIFE = timedelta(minutes=10)
ACCESS_TOKEN_TYPE = "at+jwt"
ID_TOKEN_TYPE = "JWT"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom tokens are about: a person, active today, in a session that is alive."""

    grant: Grant
    session: Session
    person: Person

    @property
    def auth_time(self) -> datetime:
        return self.session.authenticated_at

    def new_refresh_token(self, transaction: TenantTransaction) -> str:
        return grants.issue_refresh_token(transaction, self.grant.id).text


def subject_of(transaction: TenantTransaction, grant: Grant, idle: timedelta) -> Subject | None:
    """None when the grant is revoked, its session over, or the person no longer active."""
    if grant.revoked_at is not None:
        return None
    session = sessions.find(transaction, grant.session_id, idle)
    person = people.find(transaction, grant.user_id)
    if session is None or person is None or not person.may_log_in:
        return None
    return Subject(grant, session, person)


def access_token(settings: Settings, keys: Keys, subject: Subject, client: Client, scope: str) -> str:
    """RFC 9068, with the tenant, the session and the grant."""
    now = int(time.time())
    return keys.sign(
        {
            "iss": settings.issuer,
            "aud": settings.issuer,
            "sub": str(subject.person.user_id),
            "client_id": client.client_id,
            "scope": scope,
            "iat": now,
            "exp": now + int(ACCESS_TOKEN_LIFE.total_seconds()),
            "jti": str(uuid4()),
            "auth_time": int(subject.auth_time.timestamp()),
            "acr": subject.session.acr,
            "amr": subject.session.amr,
            "sid": str(subject.session.id),
            "tenant_id": str(subject.person.tenant_id),
            "grant_id": str(subject.grant.id),
        },
        type=ACCESS_TOKEN_TYPE,
    )


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What one of our access tokens says; nothing of it is known to hold still."""

    tenant_id: UUID
    grant_id: UUID
    scope: str
    claims: dict[str, Any]


def read_access_token(settings: Settings, keys: Keys, text: str) -> AccessToken | None:
    """None for anything that isn't an unexpired access token of ours."""
    if len(text) > 4096:
        return None
    claims = keys.claims(text, type=ACCESS_TOKEN_TYPE)
    if claims is None or claims["iss"] != settings.issuer or claims["exp"] <= time.time():
        return None
    return AccessToken(UUID(claims["tenant_id"]), UUID(claims["grant_id"]), claims["scope"], claims)
