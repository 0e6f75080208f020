"""HTTP as Authlib wants to see it: a request of plain values, and a reply that isn't anybody's framework's."""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import JSONResponse, RedirectResponse, Response

Parameters = ImmutableMultiDict[str, str]
LONGEST_PARAMETER = 2048


class Payload(OAuth2Payload):
    """Parameters of a query or a form. An empty one counts as left out (RFC 6749, 3.1)."""

    def __init__(self, parameters: Parameters) -> None:
        self._many: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in parameters.multi_items():
            if value:
                self._many[name].append(value)
        self._one = {name: values[0] for name, values in self._many.items()}

    @property
    def data(self) -> dict[str, str]:
        return self._one

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        return self._many


class WireRequest(OAuth2Request):
    """The address is left out: where we are is the issuer, which settings has checked, and not what a request says."""

    def __init__(self, method: str, parameters: Parameters, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(method, "https://issuer", headers=_readable(headers or {}))
        self.payload = Payload(parameters)

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


def unspeakable(parameters: Parameters, longest: int = LONGEST_PARAMETER) -> str | None:
    """The first parameter that no client of ours sends: too long, or with characters that the protocol doesn't have."""
    for name, value in parameters.multi_items():
        if len(value) > longest or len(name) > 100 or not _plain(value) or not _plain(name):
            return name if _plain(name) and len(name) <= 100 else "?"
    return None


@dataclass
class Reply:
    """What Authlib answers. ``location`` is where the browser goes, for a redirect."""

    status: int
    body: Any
    headers: list[tuple[str, str]]

    @classmethod
    def of(cls, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Reply:
        return cls(status, body, list(headers))

    @property
    def location(self) -> str | None:
        return next((value for name, value in self.headers if name.lower() == "location"), None)

    def response(self) -> Response:
        if self.location is not None:
            return RedirectResponse(self.location, 303)
        kept = {name: value for name, value in self.headers if name.lower() not in ("content-type", "content-length")}
        return JSONResponse(dict(self.body) if self.body else {}, self.status, kept)


def _plain(text: str) -> bool:
    # The characters that a description of an error may repeat: Authlib fails on any other.
    return all(" " <= character <= "~" and character not in '"\\' for character in text)


def _readable(headers: Mapping[str, str]) -> dict[str, str]:
    """Authorization only, and only if Authlib will survive it."""
    given = headers.get("authorization", "")
    scheme, _, credentials = given.partition(" ")
    if scheme.lower() == "basic":
        try:
            base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return {}
    return {"Authorization": given} if given else {}
