"""The proof that goes with a bound tenant: SQL in the service's session can't make one (migrations/0006).

The key comes from the password that the service logs in with, so there is no second secret to hand out. It is
stretched, because whoever runs SQL in a session sees proofs, and could else guess the password by them.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

# Longer than any transaction of a service may wait to begin, and more than clocks may differ.
_GOOD_FOR_S = 300
_ROUNDS = 100_000
_BLOCK_BYTES = 64  # of SHA-256


@dataclass(frozen=True, slots=True, repr=False)
class ContextKey:
    role: str
    key: bytes

    @classmethod
    def of(cls, role: str, password: str) -> ContextKey:
        salt = f"rireki tenant context {role}".encode()
        return cls(role, hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS))

    def prove(self, backend_pid: int, tenant: UUID, clock: Callable[[], float] = time.time) -> str:
        """What ``app.tenant_proof`` has to be in that backend."""
        expiry = str(int(clock()) + _GOOD_FOR_S)
        told = f"{self.role}|{backend_pid}|{tenant}|{expiry}"
        return f"{expiry}.{hmac.new(self.key, told.encode(), hashlib.sha256).hexdigest()}"

    @property
    def padded(self) -> tuple[bytes, bytes]:
        """The key as HMAC takes it, inner and outer (RFC 2104): what the database keeps."""
        block = self.key.ljust(_BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
