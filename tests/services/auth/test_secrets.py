"""What only auth may know of an event: sealed under the person's own key, and gone with it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors as pg

from services.auth.secrets import read_apart
from services.auth.vault import SubjectKey, Unreadable, Vault
from services.journal.verify import verify
from services.shared.context import Context
from services.shared.transaction import Database
from tests.services.auth.conftest import MASTER_KEY, Auth, Member
from tests.services.auth.story import connect_upstream


def _told(auth: Auth, tenant: str, member: Member) -> list[dict[str, Any] | None]:
    """The secret part of each of a person's logins, oldest first, as auth reads it. The enrolment is the first."""
    logins = auth.platform.rows(
        "SELECT event_id FROM auth.events WHERE event_type = 'login.succeeded' AND after ->> 'user_id' = %s "
        "ORDER BY recorded_at",
        member.id,
    )
    database = Database(auth.platform.dsn_of("auth"), max_connections=1, name="test")
    database.open()
    try:
        with database.tenant_transaction(Context(UUID(tenant), "system", "auth", "r", uuid4())) as transaction:
            return [read_apart(transaction, Vault(MASTER_KEY), login["event_id"]) for login in logins]
    finally:
        database.close()


def _shred(auth: Auth, tenant: str, member: Member) -> None:
    auth.operator.tenant = tenant
    auth.operator.do(f"/v1/users/{member.id}/shred-secrets", {"reason": "消去の求め"})


def test_where_somebody_logged_in_is_readable_to_auth_until_their_key_is_shredded(auth: Auth) -> None:
    member, other = auth.member(), auth.member()
    auth.browser().log_in(member)
    auth.browser().log_in(other)
    told = _told(auth, member.tenant, member)
    assert [one and one["address"] for one in told] == ["127.0.0.1"] * 2

    _shred(auth, member.tenant, member)
    auth.browser().log_in(member)

    told = _told(auth, member.tenant, member)
    assert [one and one["address"] for one in told] == [None, None, "127.0.0.1"]  # the last under a new key
    assert None not in _told(auth, other.tenant, other)


def test_the_events_of_a_shredded_person_still_tell_the_state(auth: Auth) -> None:
    member = auth.member()
    auth.browser().log_in(member)
    before = [event["event_id"] for event in auth.events(member)]

    _shred(auth, member.tenant, member)

    assert [compared.table for compared in verify(auth.platform.admin_dsn) if compared.differing] == []
    after = auth.events(member)
    assert [event["event_id"] for event in after[:-1]] == before
    assert (after[-1]["event_type"], after[-1]["reason"]) == ("secrets.shredded", "消去の求め")


def test_secrets_go_with_a_person_to_another_tenant_and_are_shredded_there_all_of_them(auth: Auth) -> None:
    member = auth.member()
    auth.browser().log_in(member)
    into = auth.directory.found()
    auth.directory.tenant = member.tenant
    auth.directory.do("/v1/tenant/merge", {"into": into}, version=1)
    assert None not in _told(auth, into, member)

    _shred(auth, into, member)

    assert _told(auth, into, member) == [None, None]
    assert auth.platform.rows("SELECT 1 AS x FROM auth.subject_keys WHERE subject_id = %s", member.id) == []


def test_what_is_sealed_says_nothing_and_fits_no_other_event_or_person(auth: Auth) -> None:
    member = auth.member()
    auth.browser().log_in(member)
    row, *_ = auth.platform.rows(
        "SELECT e.event_id, e.sealed, k.sealed AS key FROM auth.event_secrets e JOIN auth.subject_keys k "
        "ON k.subject_id = e.subject_id WHERE e.subject_id = %s",
        member.id,
    )
    assert b"127.0.0.1" not in bytes(row["sealed"])
    key = SubjectKey(Vault(MASTER_KEY).unseal("subject-key", bytes(row["key"]), member.id))
    assert json.loads(key.unseal(bytes(row["sealed"]), row["event_id"]))["address"] == "127.0.0.1"

    for unreadable in (
        lambda: key.unseal(bytes(row["sealed"]), uuid4()),
        lambda: key.unseal(bytes(row["sealed"])[:-1] + b"\0", row["event_id"]),
        lambda: Vault(MASTER_KEY).unseal("subject-key", bytes(row["key"]), str(uuid4())),
        lambda: Vault(bytes(32)).unseal("subject-key", bytes(row["key"]), member.id),
    ):
        with pytest.raises(Unreadable):
            unreadable()


def test_the_service_sees_secrets_only_after_stepping_into_their_role(auth: Auth) -> None:
    database = Database(auth.platform.dsn_of("auth"), max_connections=1, name="test")
    database.open()
    try:
        for table in ("event_secrets", "subject_keys"):
            with (
                pytest.raises(pg.InsufficientPrivilege),
                database.tenant_reading(Context(uuid4(), "system", "auth", "r", uuid4())) as reading,
            ):
                reading.rows(f"SELECT * FROM auth.{table}")  # type: ignore[arg-type]
    finally:
        database.close()


def test_a_merger_ends_the_tenants_identity_provider_and_forgets_its_secret(auth: Auth) -> None:
    member = auth.member()
    connect_upstream(auth, member)
    asked = (
        "SELECT u.ended_at, s.sealed FROM auth.upstreams u LEFT JOIN auth.upstream_secrets s ON s.upstream_id = u.id "
    )
    asked += "WHERE u.tenant_id = %s"
    (before,) = auth.platform.rows(asked, member.tenant)
    assert before["ended_at"] is None and before["sealed"] is not None
    into = auth.directory.found()

    auth.directory.tenant = member.tenant
    auth.directory.do("/v1/tenant/merge", {"into": into}, version=1)

    (after,) = auth.platform.rows(asked, member.tenant)
    assert after["ended_at"] is not None and after["sealed"] is None
