"""The code grant: S256 PKCE for every client, one use per code, and what an id token says."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode

from services.auth import grants, sessions
from services.auth.clients import Client
from services.auth.grants import Code
from services.auth.handle import Handle
from services.auth.protocol.tokens import ID_TOKEN_LIFE, ID_TOKEN_TYPE, Subject, subject_of
from services.auth.protocol.wire import WireRequest
from services.auth.sessions import Session

TOKEN_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
_S256_CHALLENGE = re.compile(r"\A[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class HeldCode:
    """A code as Authlib asks about it."""

    code: Code

    @property
    def code_challenge(self) -> str:
        return self.code.challenge

    @property
    def code_challenge_method(self) -> str:
        return "S256"

    def get_redirect_uri(self) -> str:
        return self.code.redirect_uri

    def get_scope(self) -> str:
        return self.code.grant.scope


class CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = TOKEN_AUTH_METHODS

    def generate_authorization_code(self) -> str:
        """Made and kept at once, for it carries its tenant."""
        session: Session = self.request.user
        asked = self.request.payload.data
        transaction = self.server.transaction
        grant_id = grants.issue(
            transaction, session.user_id, session.id, self.request.client.client_id, self.request.scope
        )
        return grants.issue_code(
            transaction,
            grant_id,
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
        ).text

    def save_authorization_code(self, code: str, request: WireRequest) -> None:
        """It is kept already."""

    def query_authorization_code(self, code: str, client: Client) -> HeldCode | None:
        """None for a code that is unknown, expired, another client's, or used: then its whole family is revoked."""
        handle = Handle.parse(code)
        held = grants.lock_code(self.server.transaction, handle) if handle else None
        if held is None or held.grant.client_id != client.client_id:
            return None
        if held.used:
            grants.revoke(self.server.transaction, held.grant.id, "code_reused")
            return None
        return None if held.expired else HeldCode(held)

    def delete_authorization_code(self, authorization_code: HeldCode) -> None:
        grants.use_code(self.server.transaction, authorization_code.code)

    def authenticate_user(self, authorization_code: HeldCode) -> Subject | None:
        subject = subject_of(self.server.transaction, authorization_code.code.grant, self.server.settings.session_idle)
        if subject is not None:
            sessions.touch(self.server.transaction, subject.session.id)
        return subject


class Pkce(CodeChallenge):
    """S256 for every client, confidential ones too (RFC 9700, 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str) -> None:
        asked = grant.request.payload.data
        if asked.get("code_challenge_method") != "S256":
            raise InvalidRequestError("'code_challenge_method' must be S256")
        if not _S256_CHALLENGE.match(asked.get("code_challenge", "")):
            raise InvalidRequestError("'code_challenge' must be a SHA-256 in base64url")
        super().validate_code_challenge(grant, redirect_uri)


class IdToken(OpenIDCode):
    """Says who logged in, when, how, and in which session; affiliations are told by userinfo, which is never old."""

    def __init__(self) -> None:
        super().__init__(require_nonce=False)

    def exists_nonce(self, *_: Any) -> bool:
        return False  # the client is who checks it: a replayed answer brings a used code

    def encode_id_token(self, _: dict[str, Any], request: WireRequest) -> str:
        subject: Subject = request.user
        server = self._server
        now = int(time.time())
        claims = {
            "iss": server.settings.issuer,
            "sub": str(subject.person.user_id),
            "aud": request.client.client_id,
            "iat": now,
            "exp": now + int(ID_TOKEN_LIFE.total_seconds()),
            "auth_time": int(subject.auth_time.timestamp()),
            "acr": subject.session.acr,
            "amr": subject.session.amr,
            "sid": str(subject.session.id),
            "tenant_id": str(subject.person.tenant_id),
        }
        if request.authorization_code is not None and request.authorization_code.code.nonce is not None:
            claims["nonce"] = request.authorization_code.code.nonce
        signed: str = server.keys.sign(claims, type=ID_TOKEN_TYPE)
        return signed

    def __call__(self, grant: Any) -> None:
        self._server = grant.server
        super().__call__(grant)
        if "openid" not in (grant.request.payload.scope or "").split() and grant.GRANT_TYPE == CodeGrant.GRANT_TYPE:
            grant.register_hook("after_validate_authorization_request_payload", _refuse_without_openid)


def _refuse_without_openid(*_: Any) -> None:
    raise InvalidScopeError("'scope' must contain openid")
