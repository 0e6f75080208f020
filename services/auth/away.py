"""The one place from which auth calls anybody: a tenant's own identity provider (OpenID Connect, as a client).

Code with S256 PKCE, state and nonce; what comes back is believed only if its keys signed it for us, just now, for
this login. No transaction is open meanwhile, and few wait for one provider at once: one that hangs holds up its own
users and nobody else.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

_TIMEOUT_S = 5.0
_LARGEST_BYTES = 256 * 1024
_AT_ONCE = 4  # of the forty threads that answer everybody
_KEPT_S = 300.0
_LEEWAY_S = 60
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # signed with a key that only the provider has; never by our secret
_LONGEST_SUBJECT = 255
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class UpstreamFailed(Exception):
    """What of the provider's answer was wrong; for whoever runs it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a provider says of itself. ``names_itself``: it puts its issuer into every answer (RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """What has to be remembered until the browser is back."""

    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Departure:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(48))


def safe_address(address: str, *, https_only: bool) -> bool:
    """``https_only`` is off only where auth itself runs on the loopback, for development and tests."""
    try:
        parts = urlsplit(address)
        loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK and not https_only
        whole = bool(parts.hostname) and not parts.fragment and parts.username is None and len(address) <= 400
    except ValueError:
        return False
    plain = address.isascii() and address.isprintable() and not set(address) & set(' "\\<>')
    return (parts.scheme == "https" or loopback) and whole and plain


class Away:
    """Follows no redirect, reads no endless answer, and keeps what a provider says of itself for five minutes."""

    def __init__(self, *, redirect_uri: str, https_only: bool) -> None:
        self._redirect_uri, self._https_only = redirect_uri, https_only
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}
        self._keeping = threading.Lock()
        self._waiting: Counter[str] = Counter()

    def address(self, issuer: str, client_id: str, departure: Departure, state: str) -> str:
        """Where to send the browser. Raises UpstreamFailed."""
        known = self._known(issuer)
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid",
            "state": state,
            "nonce": departure.nonce,
            "code_challenge": create_s256_code_challenge(departure.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(known.authorization_endpoint).query else "?"
        return f"{known.authorization_endpoint}{joint}{urlencode(asked)}"

    def subject(
        self, issuer: str, client_id: str, client_secret: str, departure: Departure, code: str, named: str | None
    ) -> str:
        """Whom the provider knows them as. ``named``: the issuer in the answer. Raises UpstreamFailed."""
        known = self._known(issuer)
        if named != issuer and (named is not None or known.names_itself):
            raise UpstreamFailed("the answer comes from another issuer")
        told = self._call(
            "POST",
            known.token_endpoint,
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._redirect_uri,
                "code_verifier": departure.verifier,
            },
            # Each part is form-encoded first (RFC 6749, 2.3.1).
            auth=(quote(client_id, safe=""), quote(client_secret, safe="")),
        )
        token = told.get("id_token")
        if not isinstance(token, str):
            raise UpstreamFailed("the token endpoint gave no id token")
        claims = self._signed(known, token)
        return _subject(claims, issuer, client_id, departure.nonce)

    def _known(self, issuer: str) -> Known:
        told = self._kept_or_called(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        endpoints = [told.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if told.get("issuer") != issuer:
            raise UpstreamFailed("its configuration names another issuer")
        if not all(isinstance(each, str) and safe_address(each, https_only=self._https_only) for each in endpoints):
            raise UpstreamFailed("its configuration names an endpoint that isn't https")
        return Known(
            issuer,
            str(endpoints[0]),
            str(endpoints[1]),
            str(endpoints[2]),
            told.get("authorization_response_iss_parameter_supported") is True,
        )

    def _signed(self, known: Known, token: str) -> dict[str, Any]:
        """The claims. A key that isn't known yet is asked for once: the provider may have rotated."""
        for again in (False, True):
            try:
                keys = KeySet.import_key_set({"keys": self._keys(known, again)})
                return dict(jwt.decode(token, keys, _ALGORITHMS).claims)
            except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
                if again:
                    raise UpstreamFailed("none of its keys signed the id token") from error
        raise AssertionError

    def _keys(self, known: Known, again: bool) -> list[Any]:
        keys = self._kept_or_called(known.jwks_uri, again).get("keys")
        if not isinstance(keys, list):
            raise UpstreamFailed("its keys can't be read")
        return keys

    def _kept_or_called(self, address: str, again: bool = False) -> dict[str, Any]:
        with self._keeping:
            kept = self._kept.get(address)
        # However often somebody shows a token with a made-up key: one call a second.
        if kept is not None and time.monotonic() - kept[0] < (1.0 if again else _KEPT_S):
            return kept[1]
        told = self._call("GET", address)
        with self._keeping:
            self._kept[address] = (time.monotonic(), told)
        return told

    def _call(
        self, method: str, address: str, *, data: dict[str, str] | None = None, auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        if not safe_address(address, https_only=self._https_only):
            raise UpstreamFailed("its address isn't https")
        host = urlsplit(address).netloc
        with self._keeping:
            if self._waiting[host] >= _AT_ONCE:
                raise UpstreamFailed("too many are waiting for its answer")
            self._waiting[host] += 1
        try:
            return _called(method, address, data, auth)
        finally:
            with self._keeping:
                self._waiting[host] -= 1


def _called(method: str, address: str, data: dict[str, str] | None, auth: tuple[str, str] | None) -> dict[str, Any]:
    headers = {"Accept": "application/json"}
    if auth is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
    deadline = time.monotonic() + _TIMEOUT_S
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client,
            client.stream(method, address, data=data, headers=headers) as answer,
        ):
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_BYTES or time.monotonic() > deadline:
                    raise UpstreamFailed("its answer is too long")
            if answer.status_code != 200:
                raise UpstreamFailed(f"{urlsplit(address).path} answered {answer.status_code}")
            told = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UpstreamFailed(f"it can't be reached: {type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("its answer isn't JSON") from error
    if not isinstance(told, dict):
        raise UpstreamFailed("its answer isn't an object")
    return told


def _subject(claims: dict[str, Any], issuer: str, client_id: str, nonce: str) -> str:
    """OpenID Connect Core, 3.1.3.7. Raises UpstreamFailed."""
    audience = claims.get("aud")
    for_us = audience == client_id or (isinstance(audience, list) and client_id in audience)
    several = isinstance(audience, list) and len(audience) > 1
    expires, issued, now = claims.get("exp"), claims.get("iat"), time.time()
    subject = claims.get("sub")
    if claims.get("iss") != issuer:
        raise UpstreamFailed("the id token is another issuer's")
    if not for_us or (several and claims.get("azp") != client_id) or claims.get("azp", client_id) != client_id:
        raise UpstreamFailed("the id token is for somebody else")
    if not isinstance(expires, int | float) or expires + _LEEWAY_S < now:
        raise UpstreamFailed("the id token has expired")
    if not isinstance(issued, int | float) or issued - _LEEWAY_S > now:
        raise UpstreamFailed("the id token is from the future: compare the clocks")
    if claims.get("nonce") != nonce:
        raise UpstreamFailed("the id token is of another login")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise UpstreamFailed("the id token names nobody")
    return subject
