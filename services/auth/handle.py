"""An opaque token that says where to look it up: its tenant, then 256 random bits. The database keeps only its hash.

The tenant in it proves nothing: bound to a wrong one, the transaction finds no such hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from uuid import UUID

# Where something belongs to no tenant, the transaction is bound to this one, which has no rows.
NOBODY = UUID(int=0)

_SECRET_BYTES = 32
_TEXT_LENGTH = 64


@dataclass(frozen=True, slots=True, repr=False)
class Handle:
    tenant_id: UUID
    secret: bytes

    @classmethod
    def new(cls, tenant_id: UUID) -> Handle:
        return cls(tenant_id, os.urandom(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str | None) -> Handle | None:
        """None for anything that ``text`` never made."""
        if text is None or len(text) != _TEXT_LENGTH:
            return None
        try:
            told = base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        return cls(UUID(bytes=told[:16]), told[16:])

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(self.tenant_id.bytes + self.secret).decode()

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.secret).digest()


def tenant_of(text: str | None) -> UUID:
    handle = Handle.parse(text)
    return handle.tenant_id if handle else NOBODY
