"""What no browser would answer to a challenge. What one answers, tests/browser tries with a real one."""

from __future__ import annotations

import base64
import html
import json
import os
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from webauthn.helpers import encode_cbor

from services.auth import passkeys
from services.auth.settings import Settings
from tests.services.auth.conftest import Auth, Browser, Member, came_back
from tests.services.conftest import TOKEN

HERE = Settings(dsn="x", token=TOKEN, master_key=bytes(32), issuer="http://localhost:8000")
CHALLENGE = passkeys.new_challenge()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Key:
    """A security key in software. It does as it is told, also what no browser would let it."""

    def __init__(self) -> None:
        self.id, self.secret, self.count = os.urandom(32), ec.generate_private_key(ec.SECP256R1()), 0

    def create(self, challenge: str, origin: str, **lies: Any) -> str:
        numbers = self.secret.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        public = encode_cbor({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        told = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        attestation = encode_cbor({"fmt": "none", "attStmt": {}, "authData": self._seen(0x41, **lies) + told})
        client = self._client("webauthn.create", challenge, origin, **lies)
        return self._answer({"clientDataJSON": b64(client), "attestationObject": b64(attestation)})

    def sign(self, challenge: str, origin: str, **lies: Any) -> str:
        self.count += 1
        seen, client = self._seen(0x01, **lies), self._client("webauthn.get", challenge, origin, **lies)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(client)
        signature = self.secret.sign(seen + digest.finalize(), ec.ECDSA(hashes.SHA256()))
        answer = {"clientDataJSON": b64(client), "authenticatorData": b64(seen), "signature": b64(signature)}
        return self._answer({**answer, **lies.get("answer", {})})

    def _seen(self, flags: int, *, host: str = "localhost", count: int | None = None, **_: Any) -> bytes:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(host.encode())
        return digest.finalize() + bytes([flags]) + (self.count if count is None else count).to_bytes(4, "big")

    def _client(self, purpose: str, challenge: str, origin: str, **lies: Any) -> bytes:
        return json.dumps({"type": lies.get("type", purpose), "challenge": challenge, "origin": origin}).encode()

    def _answer(self, response: dict[str, str]) -> str:
        return json.dumps({"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": response})


def challenge_on(page: Any) -> str:
    told = json.loads(html.unescape(page.text.split('data-options="')[1].split('"')[0]))
    return str(told["challenge"])


def with_key(auth: Auth) -> tuple[Member, Key]:
    member, browser, key = auth.member(), auth.browser(), Key()
    browser.log_in(member)
    page = browser.get("/account/second-factor")
    answer = browser.submit(page, "/set-up/passkey", answer=key.create(challenge_on(page), auth.issuer), label="Key")
    assert answer.status_code == 200, answer.text
    return member, key


def asked(auth: Auth, member: Member) -> tuple[Browser, Any]:
    browser = auth.browser()
    return browser, browser.log_in(member)


def test_a_key_signs_for_this_login_at_this_address(auth: Auth) -> None:
    member, key = with_key(auth)
    browser, page = asked(auth, member)

    answer = browser.submit(page, "/second/passkey", answer=key.sign(challenge_on(page), auth.issuer))

    assert came_back(answer)["code"]


@pytest.mark.parametrize(
    "lies",
    [
        {"host": "evil.example"},
        {"type": "webauthn.create"},
        {"count": 0},
        {"answer": {"signature": b64(b"\x30\x00")}},
        {"answer": {"authenticatorData": ""}},
        {"answer": {"clientDataJSON": b64(b"{}")}},
    ],
    ids=str,
)
def test_a_signature_for_anything_else_counts_as_a_failure(auth: Auth, lies: dict[str, Any]) -> None:
    member, key = with_key(auth)
    browser, page = asked(auth, member)
    key.count = 5

    used = came_back(browser.submit(page, "/second/passkey", answer=key.sign(challenge_on(page), auth.issuer)))
    browser, page = asked(auth, member)
    answer = browser.submit(page, "/second/passkey", answer=key.sign(challenge_on(page), auth.issuer, **lies))

    assert used["code"] and answer.status_code == 422
    assert len(auth.events(member, "login.failed")) == 1


def test_neither_another_challenge_nor_another_address_nor_another_key_opens(auth: Auth) -> None:
    member, key = with_key(auth)
    browser, page = asked(auth, member)
    challenge = challenge_on(page)
    answers = [
        key.sign(passkeys.new_challenge(), auth.issuer),
        key.sign(challenge, "https://localhost.evil.example"),
        Key().sign(challenge, auth.issuer),
    ]

    refused = [browser.submit(page, "/second/passkey", answer=answer).status_code for answer in answers]

    assert refused == [422, 422, 422]
    assert came_back(browser.submit(page, "/second/passkey", answer=key.sign(challenge, auth.issuer)))["code"]


def test_an_answer_works_once(auth: Auth) -> None:
    """Also for a key that keeps no count."""
    member, key = with_key(auth)
    browser, page = asked(auth, member)
    answer = key.sign(challenge_on(page), auth.issuer, count=0)

    first = browser.submit(page, "/second/passkey", answer=answer)
    replayed = browser.submit(page, "/second/passkey", answer=answer)

    assert came_back(first)["code"]
    assert replayed.status_code == 422


def test_somebody_elses_key_opens_nothing(auth: Auth) -> None:
    (member, _), (_, theirs) = with_key(auth), with_key(auth)
    browser, page = asked(auth, member)

    answer = browser.submit(page, "/second/passkey", answer=theirs.sign(challenge_on(page), auth.issuer))

    assert answer.status_code == 422


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=40).map(b64),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "rawId", "type", "response", "clientDataJSON", "attestationObject", "signature"]),
            inner,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, database=None)
@given(told=JSON, flipped=st.integers(0, 10_000), by=st.integers(1, 255))
def test_no_answer_makes_it_fail(told: Any, flipped: int, by: int) -> None:
    genuine = Key().create(CHALLENGE, HERE.issuer)
    response = json.loads(genuine)["response"]
    raw = bytearray(base64.urlsafe_b64decode(response["attestationObject"] + "=="))
    raw[flipped % len(raw)] ^= by
    bent = {**json.loads(genuine), "response": {**response, "attestationObject": b64(bytes(raw))}}

    assert passkeys.created(HERE, CHALLENGE, genuine) is not None
    for answer in (json.dumps(told), json.dumps(bent), genuine[: flipped % len(genuine)], "[" * 5000, ""):
        passkeys.created(HERE, CHALLENGE, answer)  # None, or what a key would be allowed to say: no exception


def test_what_a_page_asks_for_names_the_person_and_the_keys_they_have() -> None:
    known = os.urandom(16)

    told = json.loads(passkeys.creation_options(HERE, CHALLENGE, uuid4(), "sato@sakura.example", [known]))

    assert (told["rp"]["id"], told["user"]["name"], told["challenge"]) == (
        "localhost",
        "sato@sakura.example",
        CHALLENGE,
    )
    assert [each["id"] for each in told["excludeCredentials"]] == [b64(known)]
