"""SQL over the lake: which names there are, what may be asked, and what is said when it can't be answered."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from shutil import rmtree
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc.lsn import Lsn
from lakehouse.duck import connect, literal
from lakehouse.errors import HistoryIncomplete, LakeFromNewerVersion, LakeUnreachable, QueryRefused, UnknownTable
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.table_state import FORMAT
from tests.lakehouse.histories import BAG, KEYED
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, delete, insert, relation, update

ODD = relation("Größe.a.b", {"Id": pa.int64(), 'quo"te': pa.string()}, key=["Id"])


def test_an_answer_prints_as_json_with_its_point_and_verdict(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    cut = live.first_cut

    answer = live.read().sql("SELECT id, name FROM public.users ORDER BY id")

    assert json.loads(json.dumps(answer.to_json())) == {
        "columns": ["id", "name"],
        "rows": [[0, "n0"], [1, "n1"], [2, "n2"]],
        "as_of": {"lsn": str(cut.cut_lsn), "source_time": "2026-01-31T09:00:00.000000Z"},
        "held_to": {"lsn": str(cut.cut_lsn), "source_time": "2026-01-31T09:00:00.000000Z"},
        "complete": True,
        "gaps": [],
    }


def test_changelog_transactions_and_cuts_end_where_the_answer_does(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    first = live.commit(update(USERS, id=0, name="v1", bio="b"), actor="ann")
    live.commit(update(USERS, id=0, name="v2", bio="b"), actor="bob")
    live.cut()
    query = """SELECT (SELECT count(*) FROM changelog."public.users" WHERE _op = 'update') AS changes,
                      (SELECT list(actor ORDER BY commit_lsn) FROM rireki.transactions) AS actors,
                      (SELECT count(*) FROM rireki.cuts) AS cuts"""
    lake = live.read()

    assert lake.sql(query, at=first).arrow.to_pylist() == [{"changes": 1, "actors": ["ann"], "cuts": 1}]
    assert lake.sql(query).arrow.to_pylist() == [{"changes": 2, "actors": ["ann", "bob"], "cuts": 2}]


def test_only_the_tables_that_a_query_names_cost_anything(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(KEYED, [{"id": 1}]))
    live.cut()
    for kind in ("current", "changelog"):
        rmtree(f"{local_root.url}/{kind}/public/keyed/_delta_log")

    rows = live.read().sql("SELECT count(*) FROM public.users").to_json()["rows"]

    assert rows == [[3]]


def test_names_with_dots_quotes_and_other_scripts_are_found(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.writer.append_copy(live.source.copy(ODD, [{"Id": 1, 'quo"te': "x"}]))
    live.cut()
    live.commit(update(ODD, old={"Id": 1}, Id=2, **{'quo"te': "y"}), insert(ODD, Id=3))
    lake = live.read()

    found = [lake.sql('SELECT "Id", "quo""te" FROM "Größe"."a.b" ORDER BY 1', at=at).arrow for at in (None, "now")]

    assert [table.to_pylist() for table in found] == [
        [{"Id": 1, 'quo"te': "x"}],
        [{"Id": 2, 'quo"te': "y"}, {"Id": 3, 'quo"te': None}],
    ]
    assert lake.sql('SELECT count(*) AS n FROM changelog."Größe.a.b"', at="now").arrow.to_pylist() == [{"n": 4}]
    assert [change.op for change in lake.trace(ODD.name, "2")] == ["copy", "update"]


def test_case_tells_tables_apart_only_where_it_must(local_root: LakeRoot) -> None:
    upper = relation("public.Bag", {"id": pa.int64()}, key=["id"])
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(BAG, [{"kind": "a"}]))
    live.writer.append_copy(live.source.copy(upper, []))
    live.cut()
    lake = live.read()

    assert lake.sql("SELECT count(*) AS n FROM Public.USERS").arrow.to_pylist() == [{"n": 3}]
    assert lake.sql('SELECT count(*) AS n FROM public."bag"').arrow.to_pylist() == [{"n": 1}]
    assert lake.sql('SELECT count(*) AS n FROM public."Bag"').arrow.to_pylist() == [{"n": 0}]
    with pytest.raises(UnknownTable, match=r"public\.Bag, public\.bag"):
        lake.sql("FROM public.BAG")


@pytest.mark.parametrize(
    ("query", "near"), [("FROM public.user", "public.users"), ("FROM users", "public.users"), ("FROM a.b", None)]
)
def test_an_unknown_table_is_refused_with_names_near_it_and_how_to_publish_it(
    local_root: LakeRoot, query: str, near: str | None
) -> None:
    with pytest.raises(UnknownTable) as refused:
        LiveLake(local_root).read().sql(query)

    assert "ALTER PUBLICATION" in refused.value.fix
    assert (f"near it: {near}" in refused.value.what) == (near is not None)


def test_a_column_that_is_not_there_is_said_as_duckdb_says_it(local_root: LakeRoot) -> None:
    with pytest.raises(QueryRefused, match="nmae"):
        LiveLake(local_root).read().sql("SELECT nmae FROM public.users")


def test_the_engine_opens_nothing_outside_the_lake(lake_root: LakeRoot, tmp_path: Path) -> None:
    """The second wall: even a query that got past the parser's check reads no other file and changes no setting."""
    LiveLake(lake_root)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    write_deltalake(tmp_path / "elsewhere", pa.table({"a": [1]}))
    engine = connect(lake_root, tmp_path / "overlays")
    tried = [
        f"FROM read_csv({literal(str(secret))})",
        f"FROM delta_scan({literal(str(tmp_path / 'elsewhere'))})",
        f"FROM {literal(str(secret))}",
        f"FROM read_text({literal(str(tmp_path / 'lake' / '..' / 'secret.csv'))})",
        "FROM read_text('s3://elsewhere/secret.csv')",
        f"COPY (SELECT 1) TO {literal(str(tmp_path / 'out.csv'))}",
        "SET enable_external_access = true",
        "SET allow_unsigned_extensions = true",
        "INSTALL spatial",
    ]

    for query in tried:
        with pytest.raises(Exception, match=r"(?i)permission|disabled|locked|cannot|not allowed"):
            engine.execute(query).fetchall()

    assert engine.execute("SELECT current_setting('allow_unsigned_extensions')").fetchone() == (False,)
    count = f"SELECT count(*) FROM delta_scan({literal(lake_root.uri('current', USERS.name))})"
    assert engine.execute(count).fetchone() == (3,)


def test_the_engine_needs_nothing_from_home_and_leaves_nothing_there(
    local_root: LakeRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    LiveLake(local_root)
    monkeypatch.setenv("HOME", str(home))

    count = f"SELECT count(*) FROM delta_scan({literal(local_root.uri('current', USERS.name))})"

    assert connect(local_root, tmp_path).execute(count).fetchone() == (3,)
    assert list(home.iterdir()) == []


def test_python_variables_are_not_tables(local_root: LakeRoot) -> None:
    secrets = pa.table({"a": [1]})
    assert secrets.num_rows

    with pytest.raises(UnknownTable):
        LiveLake(local_root).read().sql("FROM secrets")


def test_many_threads_ask_as_of_different_commits_at_once(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    commits = [live.commit(update(USERS, id=0, name=f"v{number}", bio="b")) for number in range(4)]
    lake = live.read()
    found: dict[Lsn, list[str]] = {lsn: [] for lsn in commits}

    def ask(lsn: Lsn) -> None:
        for _ in range(3):
            found[lsn] += lake.sql("SELECT name FROM public.users WHERE id = 0", at=lsn).arrow["name"].to_pylist()

    threads = [threading.Thread(target=ask, args=(lsn,)) for lsn in commits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {lsn: [f"v{number}"] * 3 for number, lsn in enumerate(commits)}


def test_a_file_that_was_vacuumed_is_said_with_the_fix(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    as_of = live.read().at()
    live.commit(*(delete(USERS, id=number) for number in range(3)))
    live.cut()
    uri = lake_root.uri("current", USERS.name)
    DeltaTable(uri, storage_options=lake_root.storage_options).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )
    lake = live.read()

    with pytest.raises(HistoryIncomplete) as said:
        lake.sql("FROM public.users", at=as_of)

    assert said.value.fix
    assert lake.sql("FROM public.users").arrow.num_rows == 0


def test_a_version_whose_log_is_gone_is_said_with_the_fix(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    as_of = live.read().at()
    live.commit(delete(USERS, id=0))
    live.cut()
    log = Path(local_root.uri("current", USERS.name), "_delta_log")
    DeltaTable(str(log.parent)).create_checkpoint()
    (log / f"{0:020}.json").unlink()

    with pytest.raises(HistoryIncomplete):
        live.read().sql("FROM public.users", at=as_of)
    assert live.read().sql("FROM public.users").arrow.num_rows == 2


@pytest.mark.parametrize("path", ["cuts", "transactions", "changelog/public/users", "current/public/users"])
def test_a_lake_of_a_newer_format_is_refused_by_name(local_root: LakeRoot, path: str) -> None:
    live = LiveLake(local_root)
    commit = Path(local_root.url, path, "_delta_log", f"{0:020}.json")
    text = commit.read_text()
    commit.write_text(text.replace(f'"rireki.format":"{FORMAT}"', f'"rireki.format":"{FORMAT + 1}"'))
    assert commit.read_text() != text

    with pytest.raises(LakeFromNewerVersion):
        live.read().sql("FROM public.users")


def test_keys_that_only_the_environment_states_open_the_lake(
    s3_root: LakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
    for name in stated:
        monkeypatch.setenv(name, s3_root.options[name])
    root = LakeRoot(s3_root.url, {name: value for name, value in s3_root.options.items() if name not in stated})
    lake = LiveLake(root).read()

    counts = [lake.sql("SELECT count(*) AS n FROM public.users").arrow["n"][0].as_py() for _ in range(2)]

    assert counts == [3, 3]


def test_a_store_that_does_not_answer_is_said() -> None:
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "max_retries": "0",
    }

    with pytest.raises(LakeUnreachable) as said:
        Lake.open(LakeRoot("s3://nowhere/lake", options)).at()

    assert said.value.fix and "\n" not in said.value.what


def test_columns_that_came_later_are_not_there_before_and_null_in_older_rows_after(lake_root: LakeRoot) -> None:
    wider = relation("public.users", {**{c.name: c.lake_type for c in USERS.columns}, "mail": pa.string()}, key=["id"])
    live = LiveLake(lake_root)
    before = live.commit(update(USERS, id=0, name="v1", bio="b"))
    after = live.commit(update(wider, id=0, name="v2", bio="b", mail="a@b"), vouched=[wider])
    live.cut()
    lake = live.read()

    rows = lake.sql("SELECT id, mail FROM public.users ORDER BY id").arrow.to_pylist()
    then = lake.sql("FROM public.users", at=before)

    assert rows == lake.sql("SELECT id, mail FROM public.users ORDER BY id", at=after).arrow.to_pylist()
    assert [row["mail"] for row in rows] == ["a@b", None, None]
    assert then.columns == ["id", "name", "bio", "_valid_from_lsn", "_valid_from"]


def test_values_survive_reading_at_a_cut_and_from_the_tail_alike(lake_root: LakeRoot) -> None:
    """Infinities, NaN, extremes, empty and null lists: the same rows through a version, the tail, SQL and Polars."""
    kinds = relation(
        "public.kinds",
        {
            "id": pa.int64(),
            "at": pa.timestamp("us", tz="UTC"),
            "day": pa.date32(),
            "real": pa.float64(),
            "exact": pa.decimal128(38, 9),
            "raw": pa.binary(),
            "tags": pa.list_(pa.string()),
            "ok": pa.bool_(),
        },
        key=["id"],
    )
    forever, never = 2**63 - 1, 2**31 - 1
    rows: list[dict[str, Any]] = [
        {"id": 1, "at": forever, "day": never, "real": float("nan"), "raw": b"", "tags": [], "ok": True},
        {
            "id": 2,
            "at": -forever,
            "day": -never,
            "real": float("-inf"),
            "raw": b"\x00",
            "tags": [None, ""],
            "ok": False,
        },
        {"id": 3, "at": 0, "day": 0, "real": -0.0, "exact": 10**28, "tags": ["日本"]},
        {"id": 4},
    ]
    live = LiveLake(lake_root)
    query = "SELECT * EXCLUDE (_valid_from_lsn, _valid_from) FROM public.kinds ORDER BY id"
    live.writer.append_copy(live.source.copy(kinds, rows))
    live.cut()
    at_cut = live.read().sql(query)
    live.commit(*(update(kinds, **row) for row in rows))
    from_tail = live.read().sql(
        "SELECT * EXCLUDE (_valid_from_lsn, _valid_from) FROM public.kinds ORDER BY id", at="now"
    )
    live.cut()
    through_polars = live.read().rows(kinds.name, live.read().at()).sort("id").collect().to_arrow()

    printed = at_cut.to_json()["rows"]
    assert printed == from_tail.to_json()["rows"]
    assert printed == [
        [1, "infinity", "infinity", "NaN", None, "\\x", [], True],
        [2, "-infinity", "-infinity", "-infinity", None, "\\x00", [None, ""], False],
        [3, "1970-01-01T00:00:00.000000Z", "1970-01-01", -0.0, "1" + "0" * 28 + ".000000000", None, ["日本"], None],
        [4, None, None, None, None, None, None, None],
    ]
    assert through_polars["at"].cast(pa.int64()).to_pylist() == [forever, -forever, 0, None]


def test_a_reader_keeps_its_point_while_the_stream_goes_on(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    lake = live.read()
    as_of = lake.at()
    rows = lake.rows(USERS.name, as_of)
    live.commit(*(delete(USERS, id=number) for number in range(3)))
    live.cut()

    assert rows.collect().height == 3
    assert lake.sql("FROM public.users", at=as_of).arrow.num_rows == 3
    assert lake.sql("FROM public.users").arrow.num_rows == 0
