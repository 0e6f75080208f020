"""Whole logins, as a browser and a product make them, at a steady pace: one that takes long doesn't slow the next."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.services.auth.conftest import BACK, Member

_FLOW = re.compile(r'name="flow" value="([^"]+)"')


@dataclass(frozen=True)
class Target:
    issuer: str
    client_id: str
    client_secret: str


@dataclass(frozen=True)
class Outcome:
    """``ms``: from the moment when the login was due. ``failed``: at which step, and how."""

    due_s: float
    ms: float
    failed: str | None


@dataclass(frozen=True)
class Phase:
    """What happened in one stretch of time."""

    name: str
    outcomes: Sequence[Outcome]

    @property
    def succeeded(self) -> int:
        return sum(outcome.failed is None for outcome in self.outcomes)

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(outcome.ms for outcome in self.outcomes)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def __str__(self) -> str:
        told = f"{self.succeeded} of {len(self.outcomes)} logins ({self.succeeded / len(self.outcomes):.1%})"
        return f"{self.name}: {told}, p50 {self.percentile_ms(0.5):.0f} ms, p99 {self.percentile_ms(0.99):.0f} ms"


async def steady(target: Target, members: Sequence[Member], *, per_second: float, seconds: float) -> list[Outcome]:
    """One login each ``1 / per_second`` seconds, each in a browser of its own."""
    began = time.monotonic()
    transport = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_connections=100))
    due = (number / per_second for number in range(int(seconds * per_second)))

    async def one(due_s: float, member: Member) -> Outcome:
        await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
        try:
            failed = await _log_in(target, member, transport)
        except (httpx.HTTPError, KeyError, AttributeError) as error:
            failed = f"{type(error).__name__}: {error}"
        return Outcome(due_s, (time.monotonic() - began - due_s) * 1000, failed)

    # A member's account is locked for the time of a login: in turn, so that nobody waits for themselves.
    logins = [one(due_s, member) for due_s, member in zip(due, itertools.cycle(members), strict=False)]
    outcomes = await asyncio.gather(*logins)
    await transport.aclose()
    return outcomes


async def _log_in(target: Target, member: Member, transport: httpx.AsyncHTTPTransport) -> str | None:
    """Page, password, code, tokens, userinfo; None when all went well."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        **{"response_type": "code", "client_id": target.client_id, "redirect_uri": BACK, "state": "s"},
        **{"scope": "openid profile affiliations", "code_challenge": challenge, "code_challenge_method": "S256"},
    }
    browser = httpx.AsyncClient(base_url=target.issuer, transport=transport, timeout=30)
    begun = await browser.get(f"/authorize?{urlencode(asked)}")
    page = await browser.get(begun.headers["Location"])
    flow = _FLOW.search(page.text)
    if flow is None:
        return f"page: {page.status_code}"
    entered = await browser.post(
        "/login", data={"flow": flow[1], "address": member.address, "password": member.password}
    )
    if entered.status_code != 303:
        return f"password: {entered.status_code}"
    code = parse_qs(urlsplit(entered.headers["Location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": verifier}
    tokens = await browser.post("/token", data=form, auth=(target.client_id, target.client_secret))
    if tokens.status_code != 200:
        return f"token: {tokens.status_code}"
    told = await browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens.json()['access_token']}"})
    return None if told.status_code == 200 and told.json()["sub"] == member.id else f"userinfo: {told.status_code}"
