"""Passkeys and security keys (WebAuthn) as a second factor: a signature that only works at our own address."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import webauthn
from webauthn.helpers import base64url_to_bytes, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from services.auth.secrets import among_secrets
from services.auth.settings import Settings
from services.shared.transaction import TenantTransaction

# The password is the other factor: whether the device has asked for its own PIN as well is not ours to insist on.
_VERIFICATION = UserVerificationRequirement.DISCOURAGED
_LONGEST_ID = 1023
# What the library raises for an answer that no browser gives; it has been written by whoever sent it.
_MALFORMED = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class NewPasskey:
    credential_id: bytes
    public_key: bytes
    sign_count: int
    amr: str  # RFC 8176: a key that never leaves its device, or one that may


def new_challenge() -> str:
    """In base64url; good for one login, as the flow that carries it is."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def creation_options(settings: Settings, challenge: str, user_id: UUID, person: str, known: Sequence[bytes]) -> str:
    """What the browser is asked for a new passkey, as JSON. ``known``: the person's own, not to be made twice."""
    return webauthn.options_to_json(
        webauthn.generate_registration_options(
            rp_id=settings.host,
            rp_name=settings.host,
            user_name=person,
            user_id=user_id.bytes,
            challenge=base64url_to_bytes(challenge),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=_VERIFICATION
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=id) for id in known],
        )
    )


def created(settings: Settings, challenge: str, answer: str) -> NewPasskey | None:
    """None for an answer to anything but this challenge, at this address."""
    try:
        told = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=settings.host,
            expected_origin=settings.issuer,
        )
    except _MALFORMED:
        return None
    if not 1 <= len(told.credential_id) <= _LONGEST_ID:
        return None
    amr = _amr(told.credential_device_type)
    return NewPasskey(told.credential_id, told.credential_public_key, told.sign_count, amr)


def keep(transaction: TenantTransaction, factor_id: UUID, passkey: NewPasskey) -> None:
    """Raises Conflict at the end when it is somebody's already."""
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.webauthn_credentials (factor_id, tenant_id, credential_id, public_key, sign_count) "
            "VALUES (%s, %s, %s, %s, %s)",
            (factor_id, transaction.tenant_id, passkey.credential_id, passkey.public_key, passkey.sign_count),
        )


def ids_of(transaction: TenantTransaction, factor_ids: Sequence[UUID]) -> list[bytes]:
    with among_secrets(transaction):
        rows = transaction.rows(
            "SELECT credential_id FROM auth.webauthn_credentials WHERE tenant_id = %s AND factor_id = ANY(%s) "
            "ORDER BY factor_id",
            (transaction.tenant_id, list(factor_ids)),
        )
    return [bytes(row["credential_id"]) for row in rows]


def request_options(settings: Settings, challenge: str, known: Sequence[bytes]) -> str:
    """What the browser is asked to sign, as JSON."""
    return webauthn.options_to_json(
        webauthn.generate_authentication_options(
            rp_id=settings.host,
            challenge=base64url_to_bytes(challenge),
            allow_credentials=[PublicKeyCredentialDescriptor(id=id) for id in known],
            user_verification=_VERIFICATION,
        )
    )


def accept(
    transaction: TenantTransaction, settings: Settings, challenge: str, factor_ids: Sequence[UUID], answer: str
) -> str | None:
    """How it was signed (RFC 8176), or None: by none of these factors, or with a counter that went back (a copy)."""
    try:
        id = parse_authentication_credential_json(answer).raw_id
    except _MALFORMED:
        return None
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT factor_id, public_key, sign_count FROM auth.webauthn_credentials "
            "WHERE tenant_id = %s AND factor_id = ANY(%s) AND credential_id = %s FOR NO KEY UPDATE",
            (transaction.tenant_id, list(factor_ids), id),
        )
        if row is None:
            return None
        try:
            told = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=settings.host,
                expected_origin=settings.issuer,
                credential_public_key=bytes(row["public_key"]),
                credential_current_sign_count=row["sign_count"],
            )
        except _MALFORMED:
            return None
        transaction.execute(
            "UPDATE auth.webauthn_credentials SET sign_count = %s WHERE tenant_id = %s AND factor_id = %s",
            (told.new_sign_count, transaction.tenant_id, row["factor_id"]),
        )
    return _amr(told.credential_device_type)


def _amr(device: CredentialDeviceType) -> str:
    return "hwk" if device is CredentialDeviceType.SINGLE_DEVICE else "swk"
