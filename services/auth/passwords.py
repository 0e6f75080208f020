"""What a password must be, and its Argon2id hash.

The medical information guideline's (6.0, Q&A シQ-54): 13 characters, or 8 together with a second factor. It gives both
as mixtures of letters, digits and signs; that is asked of short ones only, for it makes long ones no better (NIST
SP 800-63B). No forced change; what everybody tries first is refused.
"""

from __future__ import annotations

import os
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

ALONE = 13  # characters of a password that stands alone
WITH_FACTOR = 8  # of one that a second factor goes with
LONGEST = 200

_tried_first = frozenset(
    (
        *("password", "passw0rd", "qwerty", "12345678", "1qaz2wsx", "iloveyou", "letmein", "administrator", "admin"),
        *("welcome", "pharmacy", "pharmacist", "yakkyoku", "sakura"),
    )
)
# OWASP's second recommendation: 19 MiB and two passes are about 20 ms of one core, so that a morning's rush is served.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# As many at once as there are cores: more would only hold 19 MiB each and wait.
_at_once = threading.BoundedSemaphore(os.cpu_count() or 1)
_nobodys_hash = _hasher.hash(os.urandom(16).hex())


class PasswordRefused(Exception):
    """``str(error)`` is a sentence for the person who chose it."""


def normalised(password: str) -> str:
    """One spelling for what looks alike: keyboards differ in how they write が or é."""
    return unicodedata.normalize("NFKC", password)


def accept(password: str, *, about: tuple[str, ...]) -> bool:
    """Whether it is long enough to stand alone. ``about``: what is known of the person, and so by whoever guesses.

    Raises PasswordRefused.
    """
    text = normalised(password)
    if len(text) > LONGEST:
        raise PasswordRefused(f"Use at most {LONGEST} characters.")
    if len(text) < WITH_FACTOR:
        raise PasswordRefused(
            f"Use at least {ALONE} characters, or at least {WITH_FACTOR} if you also set up a second factor."
        )
    if len(text) < ALONE and not _mixed(text):
        raise PasswordRefused(f"With fewer than {ALONE} characters, mix letters, digits and signs.")
    if len(set(text)) < WITH_FACTOR // 2:
        raise PasswordRefused("Use more different characters.")
    plain = text.casefold()
    letters = "".join(character for character in plain if character.isalpha())
    if plain in _tried_first or letters in _tried_first:
        raise PasswordRefused("That is one of the first that anybody would try. Choose another.")
    for known in about:
        part = known.casefold().partition("@")[0].replace(" ", "")
        if len(part) >= 4 and part in plain and len(plain) - len(part) < WITH_FACTOR:
            raise PasswordRefused("That is mostly your name or address. Choose another.")
    return len(text) >= ALONE


def _mixed(text: str) -> bool:
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdecimal, text))
    return bool(letters and digits and len(text) - letters - digits)


def hashed(password: str) -> str:
    with _at_once:
        return _hasher.hash(normalised(password))


def matches(password: str, against: str | None) -> bool:
    """Takes as long for somebody who doesn't exist (None) as for somebody who does."""
    with _at_once:
        try:
            correct = _hasher.verify(against if against is not None else _nobodys_hash, normalised(password)[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
    return correct and against is not None


def outdated(against: str) -> bool:
    """Whether it was made at a lower cost than today's."""
    return _hasher.check_needs_rehash(against)
