"""Seeded random changes, of every kind that the lake must follow, each transaction with its author."""

from __future__ import annotations

import json
import random

import psycopg

SCHEMA = (
    "CREATE TABLE users (id bigint PRIMARY KEY, name text, balance numeric(12,2), at timestamptz, tags text[],"
    " note text)",
    "ALTER TABLE users ALTER note SET STORAGE EXTERNAL",
    "CREATE TABLE members (a int, b int, role text, PRIMARY KEY (a, b))",
    "CREATE TABLE loose (word text, n int)",
    "ALTER TABLE loose REPLICA IDENTITY FULL",
)
TABLES = ("users", "members", "loose")


def create(connection: psycopg.Connection[tuple[object, ...]], publication: str) -> None:
    for statement in (*SCHEMA, f"ALTER PUBLICATION {publication} ADD TABLE {', '.join(TABLES)}"):
        connection.execute(statement)


class Workload:
    """One author's work. The same seed on the same tables does the same."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], seed: int) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._next = 1 + 1_000_000 * (seed % 1000)

    def transactions(self, count: int) -> None:
        for _ in range(count):
            self.transaction()

    def transaction(self) -> None:
        rolled_back = self._random.random() < 0.1
        with self._connection.transaction(force_rollback=rolled_back):
            context = json.dumps({"actor": f"user-{self._random.randint(1, 9)}", "reason": "試験"})
            self._connection.execute("SELECT pg_logical_emit_message(true, 'rireki.context', %s)", (context,))
            for _ in range(self._random.choice((1, 1, 2, 5, 30))):
                self._change()

    def _change(self) -> None:
        r = self._random
        kinds = (
            (30, self._insert),
            (30, self._update),
            (8, self._move_key),
            (5, self._swap_keys),
            (12, self._delete),
            (14, self._loose),
            (1, self._truncate),
        )
        r.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()

    def _insert(self) -> None:
        r = self._random
        note = r.choice((None, "short", "long " * 2000))
        self._connection.execute(
            "INSERT INTO users VALUES (%s, %s, %s, clock_timestamp(), %s, %s)",
            (self._next, r.choice((None, "", "山田 太郎")), r.randint(-(10**6), 10**6) / 100, ["a", None], note),
        )
        self._connection.execute(
            "INSERT INTO members VALUES (%s, %s, 'reader') ON CONFLICT DO NOTHING", (r.randint(1, 9), r.randint(1, 9))
        )
        self._next += 1

    def _update(self) -> None:
        self._connection.execute(f"UPDATE users SET balance = balance + 1 WHERE id IN ({self._some('users', 'id')})")
        self._connection.execute("UPDATE members SET role = role || 'x' WHERE a = %s", (self._random.randint(1, 9),))

    def _move_key(self) -> None:
        self._connection.execute(
            f"UPDATE users SET id = %s WHERE id IN ({self._some('users', 'id', 1)})", (self._next,)
        )
        self._next += 1

    def _swap_keys(self) -> None:
        found = self._connection.execute(self._some("users", "id", 2)).fetchall()
        if len(found) == 2:
            (one,), (other,) = found
            for target, key in ((-1, one), (one, other), (other, -1)):
                self._connection.execute("UPDATE users SET id = %s WHERE id = %s", (target, key))

    def _delete(self) -> None:
        self._connection.execute(f"DELETE FROM users WHERE id IN ({self._some('users', 'id', 1)})")

    def _loose(self) -> None:
        word, n = self._random.choice("abc"), self._random.randint(1, 3)
        statement = self._random.choice(
            (
                "INSERT INTO loose VALUES (%s, %s), (NULL, %s)",
                "UPDATE loose SET n = n + 1"
                " WHERE ctid = (SELECT min(ctid) FROM loose WHERE word = %s OR n IN (%s, %s))",
                "DELETE FROM loose WHERE ctid = (SELECT min(ctid) FROM loose WHERE word = %s OR n IN (%s, %s))",
            )
        )
        self._connection.execute(statement, (word, n, n))

    def _truncate(self) -> None:
        self._connection.execute(f"TRUNCATE {self._random.choice(TABLES)}")

    def _some(self, table: str, column: str, most: int = 3) -> str:
        offset = self._random.randint(0, 20)
        return f"SELECT {column} FROM {table} ORDER BY {column} OFFSET {offset} LIMIT {most}"
