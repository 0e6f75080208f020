"""Encryption with a key that the database never sees: AES-256-GCM, one derived key per purpose, one per person.

``AUTH_MASTER_KEY`` ──HKDF──► a key per purpose ──► signing keys, seeds, flows
                                └─► seals each person's own key ──► the secret part of that person's events
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from typing import Any, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Purpose = Literal["flow", "signing-key", "subject-key", "totp-seed", "upstream-secret"]
_PURPOSES: tuple[Purpose, ...] = ("flow", "signing-key", "subject-key", "totp-seed", "upstream-secret")
_NONCE_BYTES = 12


class Unreadable(Exception):
    """Not sealed with this key, for this purpose and this owner; or tampered with."""


class Vault:
    def __init__(self, master_key: bytes) -> None:
        self._keys = {purpose: AESGCM(_derived(master_key, purpose)) for purpose in _PURPOSES}
        self._digest_key = _derived(master_key, "digest")

    def seal(self, purpose: Purpose, plain: bytes, owner: str) -> bytes:
        """``owner`` says whose it is: sealed for one, it can't be passed off as another's."""
        return _seal(self._keys[purpose], plain, f"{purpose}/{owner}")

    def unseal(self, purpose: Purpose, sealed: bytes, owner: str) -> bytes:
        """Raises Unreadable."""
        return _unseal(self._keys[purpose], sealed, f"{purpose}/{owner}")

    def digest(self, purpose: str, text: str) -> bytes:
        """32 bytes that nobody without the master key can compute."""
        return hmac.digest(self._digest_key, f"{purpose}/{text}".encode(), hashlib.sha256)

    # What travels through the browser: a small JSON object, as text that fits a URL

    def pack(self, told: dict[str, Any], owner: str) -> str:
        sealed = self.seal("flow", json.dumps(told, separators=(",", ":")).encode(), owner)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unpack(self, text: str, owner: str) -> dict[str, Any]:
        """Raises Unreadable."""
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unreadable("not base64") from error
        told: dict[str, Any] = json.loads(self.unseal("flow", sealed, owner))
        return told


class SubjectKey:
    """One person's key. Once it is deleted, what it sealed is gone for good."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    @staticmethod
    def generate() -> bytes:
        return AESGCM.generate_key(256)

    def seal(self, plain: bytes, event_id: UUID) -> bytes:
        return _seal(self._key, plain, f"event/{event_id}")

    def unseal(self, sealed: bytes, event_id: UUID) -> bytes:
        """Raises Unreadable."""
        return _unseal(self._key, sealed, f"event/{event_id}")


def _seal(key: AESGCM, plain: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound_to.encode())


def _unseal(key: AESGCM, sealed: bytes, bound_to: str) -> bytes:
    try:
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise Unreadable(bound_to.partition("/")[0]) from error


def _derived(master_key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"rireki auth {purpose}".encode()).derive(master_key)
