"""What networks and stores do to a stream: it waits, says so in a line, and loses and doubles nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from psycopg.conninfo import make_conninfo

from cdc import stream as receiving
from cdc.slot import drop_slot
from pipelines import config as configuration
from pipelines.progress import CutWritten, Durable, Progress, Streaming, Waiting
from pipelines.setup import render
from tests.conftest import Bucket, Database
from tests.end_to_end.conftest import Pipeline, wait_until
from tests.end_to_end.workload import Workload, create
from tests.faults.proxies import (
    FULL,
    NO_ANSWER,
    UNAVAILABLE,
    UNAVAILABLE_AFTER,
    S3Proxy,
    TcpProxy,
    s3_proxy,
    tcp_proxy,
)


@pytest.fixture
def network(database: Database) -> Iterator[TcpProxy]:
    with tcp_proxy("127.0.0.1", database.server.port) as proxy:
        yield proxy


@pytest.fixture
def store(s3: Bucket) -> Iterator[S3Proxy]:
    with s3_proxy(s3.endpoint) as proxy:
        yield proxy


def pipeline_of(database: Database, dsn: str, lake: dict[str, str], folder: Path) -> Iterator[Pipeline]:
    file = folder / "rireki.toml"
    file.write_text(
        render(
            {
                "source": {"dsn": dsn},
                "stream": {"name": database.name},
                "lake": lake,
                "capture": {"max_fill_ms": 50, "idle_cut_seconds": 1},
            }
        )
    )
    database.execute(f"CREATE PUBLICATION {database.name} WITH (publish_via_partition_root = true)")
    with database.connect() as connection:
        create(connection, database.name)
    yield Pipeline(database, configuration.load(file), {})
    if database.rows(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{database.name}'"):
        drop_slot(database.dsn, database.name)


@pytest.fixture
def over_network(database: Database, network: TcpProxy, tmp_path: Path) -> Iterator[Pipeline]:
    dsn = make_conninfo(database.dsn, host="127.0.0.1", port=network.port)
    yield from pipeline_of(database, dsn, {"url": (tmp_path / "lake").as_uri()}, tmp_path)


@pytest.fixture
def into_store(
    database: Database, store: S3Proxy, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    for key, value in s3.options.items():
        if key.startswith("AWS_") and "KEY" in key:
            monkeypatch.setenv(key, value)
    yield from pipeline_of(database, database.dsn, {"url": s3.url, "endpoint": store.endpoint}, tmp_path)


def streams(told: list[Progress]) -> int:
    return sum(isinstance(event, Streaming) for event in told)


def durable(told: list[Progress]) -> int:
    return sum(isinstance(event, Durable) for event in told)


def waits(told: list[Progress]) -> list[str]:
    return [event.what for event in told if isinstance(event, Waiting)]


def under_way(told: list[Progress]) -> None:
    """Tables are copied and the stream has passed them: what comes now comes by the stream alone."""
    wait_until(lambda: any(isinstance(event, CutWritten) for event in told), "the first cut")


def no_row_twice(pipeline: Pipeline, table: str = "users") -> None:
    query = f'SELECT count(*) AS n, count(DISTINCT (_commit_lsn, _ordinal)) AS d FROM changelog."public.{table}"'
    (row,) = pipeline.lake().sql(query).arrow.to_pylist()
    assert row["n"] == row["d"] > 0


def test_a_network_that_cuts_and_refuses_is_waited_for(over_network: Pipeline, network: TcpProxy) -> None:
    with over_network.database.connect() as connection, over_network.running() as told:
        workload = Workload(connection, seed=31)
        under_way(told)
        for number in range(3):
            workload.transactions(20)
            before = len(waits(told))
            network.cut(and_refuse=True)
            workload.transactions(10)
            wait_until(lambda: len(waits(told)) > before, "the waiting")  # noqa: B023
            network.heal()
            wait_until(lambda: streams(told) > number + 1, "streaming again")  # noqa: B023
        found = over_network.reconcile()

    assert found.mismatches == 0
    assert all("\n" not in line and " again in " in line for line in waits(told))
    no_row_twice(over_network)


def test_a_network_that_stalls_for_a_while_costs_nothing_but_the_while(
    over_network: Pipeline, network: TcpProxy
) -> None:
    with over_network.database.connect() as connection, over_network.running() as told:
        workload = Workload(connection, seed=32)
        under_way(told)
        workload.transactions(20)
        wait_until(lambda: durable(told) > 0, "the first batch")
        network.stall()
        workload.transactions(40)
        threading.Event().wait(2)
        network.heal()
        found = over_network.reconcile()

    assert found.mismatches == 0
    assert streams(told) == 1


def test_a_peer_that_says_nothing_any_more_is_taken_for_gone(
    over_network: Pipeline, network: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "SILENCE_S", 3.0)
    over_network.database.execute(f"ALTER DATABASE {over_network.database.name} SET wal_sender_timeout = '4s'")
    with over_network.database.connect() as connection, over_network.running() as told:
        workload = Workload(connection, seed=33)
        under_way(told)
        workload.transactions(20)
        # Only now: everything that was opened before stays mute, what is opened later is not.
        network.mute()
        workload.transactions(20)
        wait_until(lambda: streams(told) == 2, "streaming again")
        found = over_network.reconcile()

    assert any("no answer from the server for 3 s" in line for line in waits(told))
    assert found.mismatches == 0
    no_row_twice(over_network)


@pytest.mark.parametrize("fault", [UNAVAILABLE, UNAVAILABLE_AFTER, NO_ANSWER])
def test_a_store_that_fails_now_and_then_is_asked_again(into_store: Pipeline, store: S3Proxy, fault: str) -> None:
    chance = Random(34)
    with into_store.database.connect() as connection, into_store.running() as told:
        workload = Workload(connection, seed=34)
        under_way(told)
        store.fault = lambda method, path: fault if method == "PUT" and chance.random() < 0.15 else None
        for _ in range(6):
            before = durable(told)
            workload.transactions(10)
            wait_until(lambda: durable(told) > before, "the next batch")  # noqa: B023
        store.fault = lambda method, path: None
        found = into_store.reconcile()

    assert store.faults > 0
    assert found.mismatches == 0
    assert all("\n" not in line for line in waits(told))
    no_row_twice(into_store)


def test_a_store_that_is_slow_slows_the_lake_and_not_the_source(into_store: Pipeline, store: S3Proxy) -> None:
    into_store.database.execute(f"ALTER DATABASE {into_store.database.name} SET wal_sender_timeout = '5s'")
    with into_store.database.connect() as connection, into_store.running() as told:
        workload = Workload(connection, seed=35)
        under_way(told)
        store.fault = lambda method, path: 8.0 if method == "PUT" and "_delta_log" in path else None
        workload.transactions(20)
        wait_until(lambda: durable(told) > 0, "a batch")
        store.fault = lambda method, path: None
        found = into_store.reconcile()

    assert store.faults > 0
    assert found.mismatches == 0
    assert streams(told) == 1, "keepalives were not answered"


def test_a_store_that_is_full_is_said_and_the_stream_goes_on_when_it_has_room(
    into_store: Pipeline, store: S3Proxy
) -> None:
    with into_store.database.connect() as connection, into_store.running() as told:
        workload = Workload(connection, seed=36)
        under_way(told)
        store.fault = lambda method, path: FULL if method == "PUT" else None
        workload.transactions(20)
        wait_until(lambda: bool(waits(told)), "the waiting")
        store.fault = lambda method, path: None
        found = into_store.reconcile()

    assert found.mismatches == 0
    assert all("\n" not in line and "again in" in line for line in waits(told))
    no_row_twice(into_store)
