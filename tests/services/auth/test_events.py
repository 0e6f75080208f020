"""Auth's events tell its state, and nothing that proves anything."""

from __future__ import annotations

import json

from services.auth.events import ALL
from services.journal.verify import verify
from tests.services.auth.conftest import Auth
from tests.services.auth.story import tell


def test_every_event_type_is_written_and_their_fold_is_the_state(auth: Auth) -> None:
    tell(auth)

    written = auth.platform.rows("SELECT DISTINCT event_type FROM auth.events")
    assert {row["event_type"] for row in written} == {event.name for event in ALL}
    assert [compared.table for compared in verify(auth.platform.admin_dsn) if compared.differing] == []


def test_no_event_holds_an_address_a_secret_or_where_somebody_was(auth: Auth) -> None:
    member = tell(auth)

    told = json.dumps(auth.platform.rows("SELECT to_jsonb(e) AS event FROM auth.events e"), default=str)

    for kept_apart in (member.address, member.password, "127.0.0.1", "httpx", "argon2"):
        assert kept_apart not in told
