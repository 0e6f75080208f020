"""What signs tokens: a next key (published ahead), a current one, and retired ones (published while still needed).

A key is published before it signs, so that whoever caches the published set has it in time. Every process re-reads the
set each minute, and at once when it meets a key that it doesn't know.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from services.auth.events import SIGNING_KEY_MADE, SIGNING_KEY_PROMOTED, SIGNING_KEY_RETIRED
from services.auth.handle import NOBODY
from services.auth.secrets import among_secrets
from services.auth.vault import Vault
from services.shared.context import Context
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.transaction import Database, TenantTransaction

ALGORITHM = "RS256"  # the one that every client must understand
PUBLISHED_MAX_AGE_S = 300  # what we tell those who cache the published set
_AHEAD = timedelta(seconds=2 * PUBLISHED_MAX_AGE_S)  # for how long a key is published before it may sign
_KEPT = timedelta(hours=24)  # a retired key: longer than the longest session, whose logout shows its first id token
_REREAD_S = 60.0


@dataclass(frozen=True, slots=True)
class _Ring:
    current: RSAKey
    published: KeySet
    read_at: float


class Keys:
    """The keys as of at most a minute ago."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault
        self._ring: _Ring | None = None
        self._reading = threading.Lock()

    def open(self) -> None:
        """Make the first keys, if there are none."""
        with self._database.tenant_transaction(_context()) as transaction:
            transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended('auth/signing-keys', 0))")
            if transaction.row("SELECT 1 AS found FROM auth.signing_keys WHERE state = 'current'") is None:
                _make(transaction, self._vault, "current")
                _make(transaction, self._vault, "next")
        self._read()

    def published(self) -> dict[str, Any]:
        return dict(self._now().published.as_dict(private=False))

    def signing(self) -> RSAKey:
        return self._now().current

    def sign(self, claims: dict[str, Any], *, type: str) -> str:
        key = self.signing()
        return jwt.encode({"typ": type, "alg": ALGORITHM, "kid": key.kid}, claims, key, [ALGORITHM])

    def claims(self, token: str, *, type: str) -> dict[str, Any] | None:
        """What a token of ours says, or None for any other. Its times aren't looked at."""
        for ring in (self._now, self._read_unless_fresh):
            try:
                told = jwt.decode(token, ring().published, [ALGORITHM])
            except (JoseError, ValueError, TypeError, KeyError, RecursionError):
                continue
            return dict(told.claims) if told.header.get("typ") == type else None
        return None

    def keyset(self) -> KeySet:
        return self._now().published

    def _now(self) -> _Ring:
        ring = self._ring
        return ring if ring is not None and time.monotonic() - ring.read_at < _REREAD_S else self._read()

    def _read_unless_fresh(self) -> _Ring:
        # A forged token names any key: it must not make us read more than once a second.
        ring = self._ring
        return ring if ring is not None and time.monotonic() - ring.read_at < 1 else self._read()

    def _read(self) -> _Ring:
        with self._reading:
            with self._database.tenant_reading(_context()) as reading:
                rows = reading.rows(
                    "SELECT kid, public_jwk, state FROM auth.signing_keys WHERE state <> 'retired' "
                    "OR retired_at > now() - %s ORDER BY created_at",
                    (_KEPT,),
                )
                current = next(row["kid"] for row in rows if row["state"] == "current")
                with among_secrets(reading):
                    secret = reading.row("SELECT sealed FROM auth.signing_key_secrets WHERE kid = %s", (current,))
            assert secret is not None
            private = json.loads(self._vault.unseal("signing-key", secret["sealed"], current))
            published = KeySet.import_key_set({"keys": [row["public_jwk"] for row in rows]})
            self._ring = _Ring(RSAKey.import_key(private), published, time.monotonic())
            return self._ring


def rotate(database: Database, vault: Vault, operator: Context, *, at_once: bool = False) -> tuple[str, str]:
    """The next key becomes the current one, the current one is retired, a new next one is made. New current, new next.

    ``at_once``: don't wait until the next key has been published for long enough; whoever caches the set will meet
    tokens that it can't check yet. For a key that has leaked.

    Raises Conflict when the next key hasn't been published for long enough.
    """
    with database.tenant_transaction(operator) as transaction:
        transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended('auth/signing-keys', 0))")
        ready = transaction.row(
            "SELECT kid, created_at <= now() - %s AS ready FROM auth.signing_keys WHERE state = 'next'", (_AHEAD,)
        )
        if ready is None:
            raise Conflict("there are no keys yet", fix="start the service once: it makes the first ones")
        if not ready["ready"] and not at_once:
            raise Conflict(
                f"the next key was published less than {_AHEAD} ago",
                fix="wait, or say --at-once if the current key has leaked",
            )
        retired = transaction.row(
            "UPDATE auth.signing_keys SET state = 'retired', retired_at = now(), version = version + 1 "
            "WHERE state = 'current' RETURNING id, version"
        )
        promoted = transaction.row(
            "UPDATE auth.signing_keys SET state = 'current', current_at = now(), version = version + 1 "
            "WHERE state = 'next' RETURNING id, version"
        )
        assert retired is not None and promoted is not None
        record(transaction, SIGNING_KEY_RETIRED, retired["id"], retired["version"])
        record(transaction, SIGNING_KEY_PROMOTED, promoted["id"], promoted["version"])
        return ready["kid"], _make(transaction, vault, "next")


def ring(database: Database) -> list[dict[str, Any]]:
    """Every key that there ever was, the newest first, and until when it is published."""
    with database.tenant_reading(_context()) as reading:
        return reading.rows(
            "SELECT id, kid, state, created_at, current_at, retired_at, retired_at + %s AS published_until "
            "FROM auth.signing_keys ORDER BY created_at DESC",
            (_KEPT,),
        )


def _make(transaction: TenantTransaction, vault: Vault, state: str) -> str:
    key = RSAKey.generate_key(2048, {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    kid, id = str(key.kid), uuid4()
    transaction.execute(
        "INSERT INTO auth.signing_keys (id, tenant_id, version, kid, public_jwk, state, current_at) "
        "VALUES (%(id)s, %(nobody)s, 1, %(kid)s, %(jwk)s::jsonb, %(state)s, "
        "CASE WHEN %(state)s = 'current' THEN now() END)",
        {
            "id": id,
            "nobody": NOBODY,
            "kid": kid,
            "jwk": json.dumps(key.as_dict(private=False)),
            "state": state,
        },
    )
    record(transaction, SIGNING_KEY_MADE, id, 1)
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.signing_key_secrets (kid, sealed) VALUES (%s, %s)",
            (kid, vault.seal("signing-key", json.dumps(key.as_dict(private=True)).encode(), kid)),
        )
    return kid


def _context() -> Context:
    return Context(NOBODY, "system", "auth", "signing-keys", uuid4())
