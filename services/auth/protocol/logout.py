"""RP-initiated logout: which session a product wants to end, and where the browser goes then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from authlib.oidc.rpinitiated import EndSessionEndpoint

from services.auth.protocol.tokens import ID_TOKEN_TYPE


@dataclass(frozen=True, slots=True)
class Wish:
    """``tenant_id`` and ``session_id`` are those of a genuine id token, shown as a hint."""

    tenant_id: UUID | None
    session_id: UUID | None
    redirect_uri: str | None


class Logout(EndSessionEndpoint):
    def get_server_jwks(self) -> Any:
        return self.server.keys.keyset()

    def get_algorithms(self) -> list[str]:
        return ["RS256"]

    def _validate_id_token_hint(self, id_token_hint: str) -> dict[str, Any]:
        # Authlib's own would take an access token, too, and repeats what its error says, whatever the characters.
        claims: dict[str, Any] | None = self.server.keys.claims(id_token_hint, type=ID_TOKEN_TYPE)
        return claims if claims is not None and claims["iss"] == self.server.settings.issuer else {}

    def wish(self, request: Any) -> Wish:
        """Raises OAuth2Error when the client and the hint don't belong together."""
        told = self.validate_request(request)
        claims = told.id_token_claims
        return Wish(
            UUID(claims["tenant_id"]) if claims else None,
            UUID(claims["sid"]) if claims else None,
            told.redirect_uri,
        )
