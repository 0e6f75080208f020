"""One row in every table of auth, for tests that go through them all; written by hand, with no event."""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.conftest import Database


def fill(database: Database, tenant: str, user: str) -> None:
    factor, session, grant, upstream = (uuid4() for _ in range(4))
    own: dict[str, dict[str, Any]] = {
        "accounts": {"user_id": user, "version": 1},
        "factors": {"id": factor, "user_id": user, "kind": "totp", "label": "x", "version": 1},
        "sessions": {
            **{"id": session, "user_id": user, "amr": ["pwd"], "acr": "x", "version": 1},
            "expires_at": "2200-01-01",
        },
        "session_handles": {"session_id": session, "secret_hash": os.urandom(32)},
        "grants": {
            **{"id": grant, "user_id": user, "session_id": session, "client_id": "filled", "version": 1},
            "scope": "openid",
        },
        "codes": {
            **{"code_hash": os.urandom(32), "grant_id": grant, "redirect_uri": "x", "challenge": "x"},
            "expires_at": "2200-01-01",
        },
        "refresh_tokens": {"token_hash": os.urandom(32), "grant_id": grant},
        "upstreams": {
            **{"id": upstream, "slug": f"x{uuid4().hex}", "name": "x", "issuer": "x", "client_id": "x", "version": 1},
        },
        "upstream_links": {
            **{"id": uuid4(), "upstream_id": upstream, "issuer": "x", "subject": "x", "user_id": user, "version": 1},
        },
        "passwords": {"user_id": user, "hash": "x"},
        "totp_seeds": {"factor_id": factor, "sealed": b"x", "last_step": 0},
        "webauthn_credentials": {"factor_id": factor, "credential_id": b"x", "public_key": b"x", "sign_count": 0},
        "recovery_codes": {"factor_id": factor, "code_hash": os.urandom(32)},
        "enrolments": {"token_hash": os.urandom(32), "user_id": user, "expires_at": "2200-01-01"},
        "upstream_secrets": {"upstream_id": upstream, "sealed": b"x"},
        "subject_keys": {"subject_id": user, "sealed": b"x"},
        "event_secrets": {"event_id": uuid4(), "subject_id": user, "sealed": b"x"},
        "events": {
            **{"event_id": uuid4(), "aggregate_type": "account", "aggregate_id": user, "aggregate_version": 1},
            **{"event_type": "account.opened", "schema_version": 1, "after": json.dumps({}), "actor_type": "system"},
            **{"effective_at": "2026-01-01", "occurred_at": "2026-01-01", "actor_id": "x", "request_id": "x"},
            "correlation_id": uuid4(),
        },
        "idempotency_keys": {"key": "x" * 8, "request_digest": "x", "status": 200, "answer": json.dumps({})},
    }
    with database.connect(autocommit=False) as admin:
        admin.execute("SET LOCAL session_replication_role = replica")
        _insert(
            admin,
            "clients",
            {
                **{"client_id": "filled", "name": "x", "auth_method": "none", "redirect_uris": ["x"], "scopes": []},
                **{"may_refresh": True, "id": uuid4(), "version": 1},
            },
        )
        for table, row in own.items():
            _insert(admin, table, {"tenant_id": tenant, **row})


def _insert(admin: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    admin.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
            sql.Identifier("auth", table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )


def open_account(database: Database, tenant: str, user: str) -> None:
    """An account with everything that hangs on one, each state row with its event; written by hand."""
    factor, session, grant, client = (uuid4() for _ in range(4))
    own: dict[str, dict[str, Any]] = {
        "clients": {
            **{"client_id": "filled", "name": "x", "auth_method": "none", "redirect_uris": ["x"], "scopes": []},
            **{"may_refresh": True, "id": client, "version": 1},
        },
        "accounts": {"user_id": user, "has_password": True, "version": 1},
        "factors": {"id": factor, "user_id": user, "kind": "totp", "label": "x", "version": 1},
        "sessions": {
            **{"id": session, "user_id": user, "amr": ["pwd"], "acr": "x", "version": 1},
            "expires_at": "2200-01-01",
        },
        "grants": {
            **{"id": grant, "user_id": user, "session_id": session, "client_id": "filled", "version": 1},
            "scope": "openid",
        },
        "passwords": {"user_id": user, "hash": "x"},
        "totp_seeds": {"factor_id": factor, "sealed": b"x", "last_step": 0},
        "webauthn_credentials": {
            **{"factor_id": factor, "credential_id": os.urandom(8), "public_key": b"x", "sign_count": 0},
        },
        "recovery_codes": {"factor_id": factor, "code_hash": os.urandom(32)},
        "enrolments": {"token_hash": os.urandom(32), "user_id": user, "expires_at": "2200-01-01"},
        "subject_keys": {"subject_id": user, "sealed": b"x"},
        "event_secrets": {"event_id": uuid4(), "subject_id": user, "sealed": b"x"},
    }
    told = [
        ("client", "clients", "id", client),  # there once for all accounts: told of by the first
        ("account", "accounts", "user_id", user),
        ("factor", "factors", "id", factor),
        ("session", "sessions", "id", session),
        ("grant", "grants", "id", grant),
    ]
    with database.connect(autocommit=False) as admin:
        for table, row in own.items():
            _insert(admin, table, row if table == "clients" else {"tenant_id": tenant, **row})
        for aggregate, table, key, id in told:
            admin.execute(
                "SELECT journal.tell(%s, 'auth', %s, %s, %s, 1, %s, ARRAY[%s::uuid])",
                (
                    json.dumps(
                        {"actor_type": "system", "actor_id": "x", "request_id": "x", "correlation_id": str(uuid4())}
                    ),
                    *(table, key, aggregate, f"{aggregate}.opened", id),
                ),
            )
