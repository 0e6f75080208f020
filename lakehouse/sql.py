"""SQL over the lake as of one point: the tables that a query names become views, and no other costs anything.

    schema.table                 the rows as of that point, by the source's names
    current."schema.table"       the same, for a name that DuckDB takes for something else
    changelog."schema.table"     its changes up to that point
    history."schema.table"       what each row was, from which commit to which, as known at that point
    rireki.transactions          who and why, up to that point
    rireki.cuts                  the cuts up to that point

Views scan Delta lazily: DuckDB reads only the columns, files and row groups that the query needs.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.duck import attach, connect, identifier, remember_secret, scan
from lakehouse.errors import HistoryIncomplete, LakeUnreachable, QueryRefused, UnknownTable
from lakehouse.intervals_as_of import IntervalsAsOf
from lakehouse.opening import open_table
from lakehouse.overlay import write
from lakehouse.query import TableReference, referenced_tables
from lakehouse.refusal import refusal
from lakehouse.root import LakeRoot, SharedTable
from lakehouse.table_as_of import TableAsOf

_SHARED = {"transactions": "commit_lsn", "cuts": "cut_lsn"}
_KEPT_ATTACHED = 64
_CATALOGS = frozenset({"temp", "system", "memory"})  # DuckDB's own
Tables = Mapping[TableReference, TableAsOf | IntervalsAsOf]


@dataclass(frozen=True, slots=True)
class Named:
    """A table that a query reads: the source's, or something that the lake keeps about it."""

    reference: TableReference
    kind: str  # table | changelog | history | shared
    name: TableName | None  # None for a shared table


def name_tables(references: Sequence[TableReference], tables: Sequence[TableName]) -> list[Named]:
    """Find each reference among the lake's tables. As in SQL, case matters only where it must tell tables apart.

    Raises: UnknownTable, with names that are near.
    """
    return [_named(reference, tables) for reference in references]


def _named(reference: TableReference, tables: Sequence[TableName]) -> Named:
    schema = reference.schema.lower()
    if schema == "current" and (found := _find(reference.table, tables, str)):
        return Named(reference, "table", found)
    if schema == "rireki" and reference.table.lower() in _SHARED:
        return Named(reference, "shared", None)
    if schema in ("changelog", "history") and (found := _find(reference.table, tables, str)):
        return Named(reference, schema, found)
    if reference.schema and (found := _find(str(reference), tables, lambda table: f"{table.schema}.{table.table}")):
        if is_taken(found):
            raise QueryRefused(
                "DuckDB, or the lake itself, takes that name for something else",
                subject=str(reference),
                fix=f"write it as {spelled_out(found)}",
            )
        return Named(reference, "table", found)
    raise unknown_table(str(reference), tables)


def is_taken(name: TableName) -> bool:
    """Whether ``schema.table`` means something else in a query."""
    return name.schema.lower() in _CATALOGS or (name.schema.lower() == "rireki" and name.table.lower() in _SHARED)


def spelled_out(name: TableName) -> str:
    """A spelling that works for every table."""
    return f"current.{identifier(str(name))}"


def _find(text: str, tables: Sequence[TableName], printed: Callable[[TableName], str]) -> TableName | None:
    exact = [table for table in tables if printed(table) == text]
    alike = [table for table in tables if printed(table).lower() == text.lower()]
    return next(iter(exact or (alike if len(alike) == 1 else ())), None)


def unknown_table(text: str, tables: Sequence[TableName]) -> UnknownTable:
    """What to raise for a name that no table of the lake has."""
    names = [str(table) for table in tables]
    same_table = [name for name in names if name.partition(".")[2].lower() == text.lower()]
    near = same_table or difflib.get_close_matches(text, names, n=3, cutoff=0.6)
    hint = f"; near it: {', '.join(near)}" if near else ""
    subject = text if "." in text else f"schema.{text}"
    return UnknownTable(
        f"not in this lake{hint}",
        subject=text,
        fix=f"rireki status lists the lake's tables; if it exists at the source: "
        f"ALTER PUBLICATION … ADD TABLE {subject}",
    )


@dataclass(frozen=True, slots=True)
class Scanned:
    """A Delta table at one version, as DuckDB scans it. ``overlaid`` is what makes one that isn't in the lake."""

    uri: str
    version: int
    overlaid: TableAsOf | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return scan(self.uri, self.version)


def _write(folder: Path, root: LakeRoot, table: TableAsOf) -> None:
    assert table.overlay is not None
    became = table.columns.current.empty_table() if table.became is None else table.became
    making = folder.with_name(f"{folder.name}.part")
    write(making, root, table.overlay, became, table.columns)
    making.rename(folder)


def _columns(cursor: duckdb.DuckDBPyConnection, named: Sequence[Named]) -> dict[str, list[str]]:
    """Of the views that were made for these, by the views' names."""
    views = [f"{identifier(one.reference.schema)}.{identifier(one.reference.table)}" for one in named]
    return {view: [row[0] for row in cursor.execute(f"DESCRIBE FROM {view}").fetchall()] for view in views}


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Gone with the engine."""
    return tempfile.TemporaryDirectory(prefix="rireki-as-of-")


@dataclass(slots=True)
class Engine:
    """One locked-down DuckDB for all queries of a lake; safe for use by several threads."""

    root: LakeRoot
    _connection: duckdb.DuckDBPyConnection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _overlays: tempfile.TemporaryDirectory[str] = field(default_factory=_temporary_folder)
    _attached: OrderedDict[Scanned, int] = field(default_factory=OrderedDict)  # and how many queries use it

    def references(self, query: str) -> tuple[TableReference, ...]:
        """Raises: QueryRefused."""
        with self.cursor() as cursor:
            return referenced_tables(cursor, query)

    def answer(self, query: str, named: Sequence[Named], tables: Tables, to: Lsn) -> pa.Table:
        """Run ``query`` over these tables. Raises: QueryRefused, HistoryIncomplete, LakeUnreachable."""
        scanned = [self._scanned(one, tables) for one in named]
        with self.cursor() as cursor, running("query"), self.attached(*filter(None, scanned)):
            for one, source in zip(named, scanned, strict=True):
                schema, table = identifier(one.reference.schema), identifier(one.reference.table)
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                cursor.execute(f"CREATE VIEW {schema}.{table} AS {self._select(cursor, one, source, tables, to)}")
            try:
                return cursor.execute(query).to_arrow_table()
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                raise refusal(error, _columns(cursor, named)) from error

    @contextlib.contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a catalog of its own, gone afterwards: queries as of different points don't meet."""
        with self._lock:
            if self._connection is None:
                self._connection = connect(self.root, Path(self._overlays.name))
            elif not self.root.is_local:
                remember_secret(self._connection, self.root)
            cursor = self._connection.cursor()
            catalog = f"query_{next(self._numbers)}"
        cursor.execute(f"ATTACH ':memory:' AS {catalog}; USE {catalog}")
        try:
            yield cursor
        finally:
            cursor.execute(f"USE memory; DETACH {catalog}")
            cursor.close()

    @contextlib.contextmanager
    def attached(self, *scanned: Scanned) -> Iterator[None]:
        """While it lasts, these tables can be scanned. Those used last stay for later queries."""
        with self._lock:
            assert self._connection is not None
            for one in scanned:
                if one not in self._attached:
                    if one.overlaid is not None and not Path(one.uri).exists():
                        _write(Path(one.uri), self.root, one.overlaid)
                    attach(self._connection, self.root, one.uri, one.version)
                self._attached[one] = self._attached.get(one, 0) + 1
                self._attached.move_to_end(one)
        try:
            yield
        finally:
            with self._lock:
                for one in scanned:
                    self._attached[one] -= 1
                unused = [one for one, users in self._attached.items() if users == 0]
                for one in unused[: max(0, len(self._attached) - _KEPT_ATTACHED)]:
                    self._connection.execute(f"DETACH {one}")
                    del self._attached[one]
                    if one.overlaid is not None:
                        shutil.rmtree(one.uri)

    def _scanned(self, one: Named, tables: Tables) -> Scanned | None:
        """What stands behind a table of the query: a Delta table at one version, the same for the whole query."""
        if one.kind == "shared":
            shared: SharedTable = "cuts" if one.reference.table.lower() == "cuts" else "transactions"
            return self._newest(self.root.uri_of(shared), shared)
        assert one.name is not None
        if one.kind == "changelog":
            return self._newest(self.root.uri("changelog", one.name), str(one.name))
        table = tables[one.reference]
        if isinstance(table, TableAsOf) and table.overlay is not None and self.root.is_local:
            return Scanned(str(Path(self._overlays.name) / table.overlay.name), 0, table)
        return None if table.base is None else Scanned(table.base.uri, table.base.table.version())

    def _newest(self, uri: str, subject: str) -> Scanned:
        table = open_table(self.root, uri, subject)
        if table is None:
            raise HistoryIncomplete("it has not been written yet", subject=subject)
        return Scanned(uri, table.version())

    def _select(
        self, cursor: duckdb.DuckDBPyConnection, one: Named, source: Scanned | None, tables: Tables, to: Lsn
    ) -> str:
        if one.reference in tables:
            table = tables[one.reference]
            if isinstance(table, IntervalsAsOf):
                return self._intervals(cursor, table)
            return self._rows(cursor, table, source)
        assert source is not None
        lsn = "_commit_lsn" if one.kind == "changelog" else _SHARED[one.reference.table.lower()]
        return f"FROM {source} WHERE {lsn} <= {to.value}"

    def _rows(self, cursor: duckdb.DuckDBPyConnection, table: TableAsOf, source: Scanned | None) -> str:
        if source is not None and source.overlaid is not None:
            return f"FROM {source}"
        parts = []
        if table.base is not None:
            base = table.base.select()
            if table.touched is not None:
                keys = ", ".join(identifier(name) for name in table.columns.key)
                base = f"FROM ({base}) ANTI JOIN {self._register(cursor, table.touched)} USING ({keys})"
            parts.append(base)
        if table.became is not None:
            parts.append(f"FROM {self._register(cursor, table.became)}")
        return " UNION ALL BY NAME ".join(parts)

    def _intervals(self, cursor: duckdb.DuckDBPyConnection, table: IntervalsAsOf) -> str:
        parts = []
        if table.base is not None and table.touched is not None:
            keys = ", ".join(map(identifier, table.key))
            touched = self._register(cursor, table.touched)
            parts.append(f"FROM ({table.base.select()}) WHERE _to_lsn IS NOT NULL")
            parts.append(
                f"FROM (FROM ({table.base.select()}) WHERE _to_lsn IS NULL) ANTI JOIN {touched} USING ({keys})"
            )
        elif table.base is not None:
            parts.append(table.base.select())
        if table.became is not None:
            parts.append(f"FROM {self._register(cursor, table.became)}")
        return " UNION ALL BY NAME ".join(parts)

    def _register(self, cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> str:
        """Copied, because a join pushes Bloom filters into Arrow scans, and PyArrow can't apply them."""
        name = f"tail_{next(self._numbers)}"
        cursor.register("arriving", rows)
        cursor.execute(f"CREATE TABLE main.{name} AS FROM temp.arriving")
        cursor.unregister("arriving")
        return f"main.{name}"


@contextlib.contextmanager
def running(subject: str) -> Iterator[None]:
    """Say DuckDB's errors in ours."""
    try:
        yield
    except (duckdb.IOException, duckdb.HTTPException) as error:
        text = str(error).splitlines()[0]
        gone = any(sign in text.lower() for sign in ("no such file", "not found", "no files", "404"))
        kind = HistoryIncomplete if gone else LakeUnreachable
        raise kind(text, subject=subject) from error
    except duckdb.Error as error:
        raise QueryRefused(str(error).strip(), subject=subject) from error
