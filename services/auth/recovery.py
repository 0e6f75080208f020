"""Recovery codes: ten words to keep on paper, each of which stands in for a lost factor once."""

from __future__ import annotations

import secrets
from uuid import UUID

from services.auth import factors
from services.auth.secrets import among_secrets
from services.auth.vault import Vault
from services.shared.transaction import TenantTransaction

_HOW_MANY = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_LENGTH = 10  # 49 bits: with five tries until the account locks, and its hash keyed, nobody guesses one


def renew(transaction: TenantTransaction, vault: Vault, user_id: UUID) -> list[str]:
    """New codes, shown this once; the earlier ones stop working."""
    for earlier in factors.of_kind(factors.of_user(transaction, user_id), "recovery"):
        factors.remove(transaction, earlier)
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(_HOW_MANY)]
    factor_id = factors.enrol(transaction, user_id, "recovery", "Recovery codes")
    with among_secrets(transaction):
        for code in codes:
            transaction.execute(
                "INSERT INTO auth.recovery_codes (tenant_id, factor_id, code_hash) VALUES (%s, %s, %s)",
                (transaction.tenant_id, factor_id, _hash(vault, factor_id, code)),
            )
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def accept(transaction: TenantTransaction, vault: Vault, factor_id: UUID, text: str) -> bool:
    """Whether it is one of them, used for the first time."""
    code = "".join(character for character in text.lower() if character.isalnum())
    if len(code) != _LENGTH:
        return False
    with among_secrets(transaction):
        used = transaction.execute(
            "UPDATE auth.recovery_codes SET used_at = now() "
            "WHERE tenant_id = %s AND factor_id = %s AND code_hash = %s AND used_at IS NULL",
            (transaction.tenant_id, factor_id, _hash(vault, factor_id, code)),
        )
    return used == 1


def left(transaction: TenantTransaction, factor_id: UUID) -> int:
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT count(*) AS n FROM auth.recovery_codes WHERE tenant_id = %s AND factor_id = %s AND used_at IS NULL",
            (transaction.tenant_id, factor_id),
        )
    assert row is not None
    return int(row["n"])


def _hash(vault: Vault, factor_id: UUID, code: str) -> bytes:
    return vault.digest("recovery-code", f"{factor_id}/{code}")
