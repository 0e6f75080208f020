"""Codes of an authenticator app (RFC 6238): six digits, a new one every 30 seconds, each accepted once."""

from __future__ import annotations

import hmac
import time
from uuid import UUID

import pyotp
import segno

from services.auth.secrets import among_secrets
from services.auth.vault import Vault
from services.shared.transaction import TenantTransaction

_STEP_S = 30
_SKEW_STEPS = 1  # a phone's clock may be half a minute off, and typing takes its time
_DIGITS = 6


def new_seed() -> str:
    """160 bits in base32, as long as the hash behind it."""
    return pyotp.random_base32(32)


def address(seed: str, *, person: str, issuer: str) -> str:
    """What the app reads from the QR code."""
    return pyotp.TOTP(seed).provisioning_uri(name=person, issuer_name=issuer)


def qr_code(address: str) -> str:
    """An SVG for a page; black on the page's white."""
    return str(segno.make(address, error="m", micro=False).svg_inline(scale=4, omitsize=True))


def matching_step(seed: str, code: str, *, after: int, now: float | None = None) -> int | None:
    """The step whose code this is, if it is around now and comes after the last that was used."""
    digits = "".join(code.split())
    if len(digits) != _DIGITS or not digits.isascii() or not digits.isdecimal():
        return None
    current = int((time.time() if now is None else now) // _STEP_S)
    app = pyotp.TOTP(seed)
    found = None
    for step in range(current - _SKEW_STEPS, current + _SKEW_STEPS + 1):
        if hmac.compare_digest(app.at(step * _STEP_S), digits) and step > after:
            found = step
    return found


def keep(transaction: TenantTransaction, vault: Vault, factor_id: UUID, seed: str, step: int) -> None:
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.totp_seeds (factor_id, tenant_id, sealed, last_step) VALUES (%s, %s, %s, %s)",
            (factor_id, transaction.tenant_id, vault.seal("totp-seed", seed.encode(), str(factor_id)), step),
        )


def accept(transaction: TenantTransaction, vault: Vault, factor_id: UUID, code: str) -> bool:
    """Whether it is the app's, now, for the first time. The seed is kept from others until the end."""
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT sealed, last_step FROM auth.totp_seeds WHERE tenant_id = %s AND factor_id = %s FOR NO KEY UPDATE",
            (transaction.tenant_id, factor_id),
        )
        if row is None:
            return False
        seed = vault.unseal("totp-seed", row["sealed"], str(factor_id)).decode()
        step = matching_step(seed, code, after=row["last_step"])
        if step is not None:
            transaction.execute(
                "UPDATE auth.totp_seeds SET last_step = %s WHERE tenant_id = %s AND factor_id = %s",
                (step, transaction.tenant_id, factor_id),
            )
    return step is not None
