"""What the catalogue says of published tables that the stream doesn't: which file holds the rows, which column is
which, what of its rows the publication has let through, which partitions stand behind it.

The stream announces names, types and keys. Some changes leave all of these as they were and change rows all the same:

    a column dropped and made anew      the same name and type, another number (pg_attribute.attnum)
    ALTER TYPE … USING                  the rows stand in another file (pg_class.relfilenode), and the column's entry
                                        was written anew; VACUUM FULL and TRUNCATE write no column's
    left the publication and came back  another entry in pg_publication_rel, so also another filter or column list
    the publication altered             its row was written anew: root or leaf, which operations
    a partition attached or gone        rows came or went with it; one that was made in its place came empty
    another primary key under FULL      every column is announced as the key, before and after
    an enum's label renamed             rows have the label's number (pg_enum.oid) and show its new name

Two looks at the catalogue, compared, find them: some commit between the two did it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.enums import enum_labels
from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from cdc.source import Connection, connect, explained, rows

# A partition made in its place (CREATE TABLE … PARTITION OF) is entered below its parent by the command that makes it;
# one that is made, filled and then attached in one transaction, some commands later.
_BORN_WITHIN_COMMANDS = 3

_TABLES = """
    WITH listed AS (
        SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relreplident::text AS identity,
               to_jsonb(p) -> 'attnames' AS columns, to_jsonb(p) ->> 'rowfilter' AS filter
        FROM pg_publication_tables p
        JOIN pg_namespace n ON n.nspname = p.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
        WHERE p.pubname = %s
    )
    SELECT t.schema, t.name, t.oid::int8, t.identity, coalesce(t.filter, ''),
           coalesce((SELECT string_agg(r.oid::text, ' ' ORDER BY r.oid)
                     FROM pg_publication_rel r JOIN pg_publication u ON u.oid = r.prpubid AND u.pubname = %s
                     WHERE r.prrelid = t.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(t.oid))), ''),
           (SELECT jsonb_agg(jsonb_build_array(a.attname, a.attnum, a.atttypid::int8, a.atttypmod,
                                               a.atthasmissing OR a.attgenerated <> '' OR EXISTS (
                                                   SELECT FROM pg_partition_tree(t.oid) AS leaf
                                                   JOIN pg_attribute m ON m.attrelid = leaf.relid
                                                   WHERE leaf.isleaf AND m.attname = a.attname AND m.atthasmissing
                                               ), a.xmin::text))
            FROM pg_attribute a
            WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND (jsonb_typeof(t.columns) IS DISTINCT FROM 'array' OR t.columns ? a.attname)),
           (SELECT jsonb_agg(a.attname ORDER BY a.attnum)
            FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = t.oid
              AND CASE t.identity WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END),
           (SELECT jsonb_agg(jsonb_build_array(
                       f.relid::int8, pg_relation_filenode(f.relid)::int8, f.relid::text, f.born))
            FROM (SELECT t.oid::regclass AS relid, true AS born
                  WHERE NOT EXISTS (SELECT FROM pg_partition_tree(t.oid))
                  UNION ALL
                  SELECT leaf.relid, coalesce((
                      SELECT bool_and(h.xmin = a.xmin AND h.cmin::text::int8 - a.cmin::text::int8 <= %s)
                      FROM pg_partition_ancestors(leaf.relid) AS up (relid)
                      JOIN pg_partition_tree(t.oid) AS below ON below.relid = up.relid AND below.level > 0
                      JOIN pg_inherits h ON h.inhrelid = up.relid
                      JOIN pg_attribute a ON a.attrelid = up.relid AND a.attnum = -1), true)
                  FROM pg_partition_tree(t.oid) AS leaf WHERE leaf.isleaf) AS f)
    FROM listed t
    ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """``number`` is its own for ever. ``filled``: rows that were there before it may show a value in it.

    ``written``: the transaction that last wrote the column's entry in the catalogue.
    """

    number: int
    type_oid: int
    type_modifier: int
    filled: bool
    written: str


@dataclass(frozen=True, slots=True)
class RowsFile:
    """Where rows stand: the table's own file, or one partition's. ``born``: made in its place, so it came empty."""

    file: int | None
    name: str
    born: bool


@dataclass(frozen=True, slots=True)
class TableShape:
    """One published table. ``entry`` names its places in the publication; ``files`` are by the oid of their holder,
    ``labels``, of enums, by their own; older records have none.
    """

    oid: int
    identity: str
    row_filter: str
    entry: str
    columns: Mapping[str, ColumnShape]
    key: tuple[str, ...]
    files: Mapping[int, RowsFile]
    labels: Mapping[int, str] = field(default_factory=dict)

    def is_announced_as(self, other: TableShape) -> bool:
        """Whether the stream would announce the two alike, and rows are found by the same key."""
        mine, others = ((one.oid, one.identity, one.key, _visible(one)) for one in (self, other))
        return mine == others


@dataclass(frozen=True, slots=True)
class Look:
    """The catalogue as it was at ``lsn`` or a moment later: what a snapshot at ``read_by`` shows is no older.

    ``publication`` changes when it is altered as a whole.
    """

    lsn: Lsn
    read_by: Lsn
    publication: str
    tables: Mapping[TableName, TableShape]


def look(dsn: str, publication: str) -> Look:
    """Raises SourceUnreachable."""
    with explained(dsn, publication=publication), connect(dsn) as connection:
        ((lsn,),) = rows(connection, "SELECT pg_current_wal_insert_lsn()::text")
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            mark = rows(
                connection, "SELECT oid::text || ' ' || xmin::text FROM pg_publication WHERE pubname = %s", publication
            )
            found = rows(connection, _TABLES, publication, publication, _BORN_WITHIN_COMMANDS)
            labels = enum_labels(connection, publication)
        ((read_by,),) = rows(connection, "SELECT pg_current_wal_insert_lsn()::text")
    tables = dict(_table(row, labels) for row in found)
    return Look(Lsn.parse(str(lsn)), Lsn.parse(str(read_by)), str(mark[0][0]) if mark else "", tables)


def where_to(connection: Connection, oid: int) -> TableName | None:
    """What a table is called by now; None if there is none with this oid."""
    found = rows(
        connection,
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = %s::int8::oid",
        oid,
    )
    return TableName(str(found[0][0]), str(found[0][1])) if found else None


def unannounced(before: TableShape, now: TableShape) -> str | None:
    """What has changed rows without the stream's telling, between two looks at a table; None if nothing has."""
    if before.oid != now.oid:
        return None  # made anew, and announced with its first row
    if before.row_filter != now.row_filter:
        return "the publication's row filter has changed"
    if before.entry != now.entry:
        return "it left the publication and came back"
    if before.identity == now.identity == "f" and _key_numbers(before) != _key_numbers(now):
        return "its primary key has changed, which isn't told under REPLICA IDENTITY FULL"
    for name, column in now.columns.items():
        old = before.columns.get(name)
        if old is not None and _kind(old) == _kind(column) and old.number != column.number:
            return f"column {name} was dropped and made anew"
    return _renamed_label(before, now) or _rows_moved(before, now) or _rewritten(before, now)


def _renamed_label(before: TableShape, now: TableShape) -> str | None:
    for oid, label in before.labels.items():
        if now.labels.get(oid, label) != label:
            return f"the enum's label {label} was renamed to {now.labels[oid]}"
    return None


def _rows_moved(before: TableShape, now: TableShape) -> str | None:
    for oid, held in before.files.items():
        if oid not in now.files:
            return f"partition {held.name} is gone, and its rows with it"
    for oid, held in now.files.items():
        if oid not in before.files and not held.born:
            return f"partition {held.name} was attached, and its rows with it"
    return None


def _rewritten(before: TableShape, now: TableShape) -> str | None:
    if same_files(before, now):
        return None
    for name, column in now.columns.items():
        old = before.columns.get(name)
        if old is not None and _same_place(old, column) and old.written != column.written:
            return f"the table was rewritten, and column {name} with it"
    return None


def same_files(before: TableShape, now: TableShape) -> bool:
    """Whether what held rows then holds the same ones now, as far as the catalogue can tell."""
    return all(oid in now.files and now.files[oid].file == held.file for oid, held in before.files.items())


def came_empty(before: TableShape, now: TableShape, relation: Relation) -> bool:
    """Whether no row got a value with the changes that led to ``relation``: what is new in it came empty, and a type
    that is another now changed nothing of what was stored.

    Where a column has gone, known or born since, a new one can't be vouched for: it may have had the other's name in
    between, and values.
    """
    if not before.oid == now.oid == relation.oid or unannounced(before, now) or not same_files(before, now):
        return False
    known = {column.number for column in before.columns.values()}
    shown_numbers = {column.number for column in now.columns.values()}
    born = range(max(known, default=0) + 1, max(shown_numbers, default=0) + 1)
    some_gone = not shown_numbers.issuperset({*known, *born})
    for column in relation.columns:
        shown = now.columns.get(column.name)
        if column.is_text:
            continue
        if shown is None or (shown.type_oid, shown.type_modifier) != (column.type_oid, column.type_modifier):
            return False  # it has gone on changing since
        old = before.columns.get(column.name)
        if old is None and (some_gone or shown.filled or shown.number in known):
            return False
        if old is not None and old.number != shown.number:
            return False
    return True


def _key_numbers(table: TableShape) -> list[int | str]:
    """The key's columns, whatever they are called by now; by name where the publication leaves them out."""
    return [table.columns[name].number if name in table.columns else name for name in table.key]


def _kind(column: ColumnShape) -> tuple[int, int]:
    return column.type_oid, column.type_modifier


def _same_place(old: ColumnShape, new: ColumnShape) -> bool:
    return (old.number, *_kind(old)) == (new.number, *_kind(new))


def _visible(table: TableShape) -> list[tuple[str, int, int, int]]:
    return sorted((name, column.number, *_kind(column)) for name, column in table.columns.items())


def _table(row: tuple[object, ...], labels: Mapping[int, Mapping[int, str]]) -> tuple[TableName, TableShape]:
    schema, name, oid, identity, row_filter, entry, columns, key, files = row
    return TableName(str(schema), str(name)), TableShape(
        int(str(oid)),
        str(identity),
        str(row_filter),
        str(entry),
        {one[0]: ColumnShape(*one[1:]) for one in columns} if isinstance(columns, list) else {},
        tuple(key) if isinstance(key, list) else (),
        {one[0]: RowsFile(*one[1:]) for one in files} if isinstance(files, list) else {},
        labels.get(int(str(oid)), {}),
    )
