"""A lake with an events table in it, an SQS queue, and a receiver that fails when it is told to."""

from __future__ import annotations

import hmac
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from cdc.relation import TableName
from infra.object_store import S3Server
from lakehouse.lake import Lake
from pipelines.cli import run
from pipelines.config import Config, load
from pipelines.outbox.deliver import Courier, shelf
from pipelines.outbox.destination import Destination
from pipelines.outbox.feed import Feed
from pipelines.outbox.webhook import signature
from pipelines.setup import render
from tests.conftest import Database

EVENTS = TableName("auth", "events")
SECRET = b"shared with the receiver"


@dataclass
class Source:
    """Logins at the source, and a lake that follows when asked to."""

    database: Database
    file: Path
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return load(self.file)

    def log_in(self, person: str, event_type: str = "login.succeeded", *, rolled_back: bool = False) -> str:
        """The event's id. The person is the aggregate."""
        version = self.versions[person] = self.versions.get(person, 0) + 1
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{person}/{version}"))
        with self.database.connect(autocommit=False) as connection:
            connection.execute(
                "INSERT INTO auth.events VALUES (%s, 'account', %s, %s, %s, %s, now())",
                (id, person, version, event_type, json.dumps({"person": person, "version": version})),
            )
            if rolled_back:
                connection.rollback()
        return id

    def follow(self) -> None:
        assert run(["drain", "--json", "--config", str(self.file)]) == 0

    def courier(self, destination: Destination, **more: Any) -> Courier:
        told = {"max_attempts": 3, "from_beginning": True, **more}
        feed = Feed(Lake.open(self.config.lake_root()), EVENTS, ("login.*",))
        return Courier(feed, shelf(self.config, "test"), destination, **told)


@pytest.fixture
def source(database: Database, tmp_path: Path) -> Source:
    database.execute(
        "CREATE SCHEMA auth",
        "CREATE TABLE auth.events (event_id uuid PRIMARY KEY, aggregate_type text NOT NULL, "
        "aggregate_id text NOT NULL, aggregate_version bigint NOT NULL, "
        "event_type text NOT NULL, after jsonb NOT NULL, recorded_at timestamptz)",
        f"CREATE PUBLICATION {database.name} FOR TABLE auth.events",
    )
    file = tmp_path / "rireki.toml"
    file.write_text(
        render({"source": {"dsn": database.dsn}, "stream": {"name": database.name}, "lake": {"url": "lake"}})
    )
    return Source(database, file)


@dataclass
class Receiver:
    """A webhook's other end. ``answer`` decides by the event; ``got`` is what was accepted, in order."""

    server: ThreadingHTTPServer
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], int] = lambda _: 204
    forged: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/events"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            event = json.loads(body)
            expected = "sha256=" + signature(SECRET, self.headers["Rireki-Timestamp"], body)
            there.forged += not hmac.compare_digest(expected, self.headers.get("Rireki-Signature", ""))
            status = there.answer(event)
            if status < 300:
                there.got.append(event)
                there.ids.append(self.headers["Rireki-Event-Id"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield there
    server.shutdown()
    thread.join(10)
    server.server_close()


@dataclass
class Queue:
    """A FIFO queue of moto's SQS."""

    client: Any
    url: str
    endpoint: str

    def receive(self) -> list[dict[str, Any]]:
        """All that is there, in order, deleted."""
        found = []
        while messages := self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def queue(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    client: Any = boto3.client("sqs", region_name="us-east-1", endpoint_url=s3_server.endpoint)
    url = client.create_queue(QueueName=f"test-{uuid.uuid4().hex[:8]}.fifo", Attributes={"FifoQueue": "true"})[
        "QueueUrl"
    ]
    return Queue(client, url, s3_server.endpoint)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()
