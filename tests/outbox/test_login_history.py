"""The whole way of a login: a person at auth, its event in the change stream, the lake, a message to a tool."""

from __future__ import annotations

import json
from pathlib import Path

import services
from cdc.relation import TableName
from cdc.slot import drop_slot
from lakehouse.lake import Lake
from pipelines.cli import run as rireki
from pipelines.config import load
from pipelines.outbox.deliver import Courier, shelf
from pipelines.outbox.feed import Feed
from pipelines.outbox.sqs import Sqs
from pipelines.sections import OutboxDestination
from pipelines.setup import render
from services.migrate.apply import migrate
from tests.conftest import Database
from tests.outbox.conftest import Queue
from tests.services.auth.conftest import auth_on
from tests.services.conftest import PASSWORDS, Platform

FOLDER = Path(services.__file__).parent
SLOT = "login_history"


def test_a_login_and_its_end_arrive_in_order_and_tell_no_secret(
    database: Database, queue: Queue, tmp_path: Path
) -> None:
    migrate(database.dsn, PASSWORDS)
    with database.connect() as admin:
        for service in ("directory", "asset", "auth"):
            admin.execute((FOLDER / service / "publication.sql").read_bytes())
    file = tmp_path / "rireki.toml"
    stream = {"name": SLOT, "publication": "rireki_platform"}
    file.write_text(render({"source": {"dsn": database.dsn}, "stream": stream, "lake": {"url": "lake"}}))
    with auth_on(Platform(database)) as auth:
        member = auth.member()
        refused = auth.browser()
        refused.submit(refused.authorize(), address=member.address, password="not the password")
        auth.browser().log_in(member)
        auth.operator.tenant = member.tenant
        auth.operator.do(f"/v1/users/{member.id}/end-sessions")
    assert rireki(["drain", "--json", "--config", str(file)]) == 0
    config = load(file)
    told = OutboxDestination(name="history", kind="sqs", url=queue.url, start="beginning")
    courier = Courier(
        Feed(Lake.open(config.lake_root()), TableName.parse(told.table), told.events),
        shelf(config, told.name),
        Sqs(told.url, region=told.region, endpoint=queue.endpoint),
        told.max_attempts,
        from_beginning=True,
    )

    more = True
    while more:
        _, more = courier.round()
    messages = queue.receive()

    assert {message["after"]["user_id"] for message in messages} == {member.id}
    types = [message["event_type"] for message in messages]
    assert {"login.failed", "login.succeeded", "session.ended"} == set(types)
    for session in {message["aggregate_id"] for message in messages if message["aggregate_type"] == "session"}:
        own = [message["event_type"] for message in messages if message["aggregate_id"] == session]
        assert own == ["login.succeeded", "session.ended"]
    text = json.dumps(messages)
    assert not [kept for kept in (member.address, "127.0.0.1", "not the password", "argon2") if kept in text]
    drop_slot(config.conninfo(), SLOT)
