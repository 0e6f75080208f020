"""Lakes to be read by others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.bulk import BulkSource
from tests.lakehouse.source import relation

MANY = relation("public.many", {"id": pa.int64(), "name": pa.string(), "amount": pa.float64()}, key=["id"])
ROWS = 20_000


def many(ids: range | np.ndarray[tuple[int], np.dtype[np.int64]], name: str = "first") -> pa.Table:
    numbers = np.asarray(ids, dtype=np.int64)
    return pa.table({"id": numbers, "name": [f"{name} {number}" for number in numbers], "amount": numbers / 8})


def hidden_rows_story(root: LakeRoot) -> dict[int, pa.Table]:
    """A table of 20,000 rows through four cuts; its rows at each version of ``current``.

    Version 1 hides five rows (a vector in the commit), version 2 every seventh (a vector file), version 3 changes
    some of both files again.
    """
    source, writer = BulkSource(), LakeWriter.open(root, "main")
    writer.append_copy(source.copy(MANY, many(range(ROWS))))
    told: dict[int, pa.Table] = {}

    def cut(rows: pa.Table) -> None:
        told[source.cut(writer).versions[MANY.name]] = rows

    cut(many(range(ROWS)))
    source.commit(MANY, "update", many(range(5), "second"))
    cut(pa.concat_tables([many(range(5), "second"), many(range(5, ROWS))]))
    source.commit(MANY, "delete", many(range(0, ROWS, 7)))
    left = np.array([number for number in range(ROWS) if number % 7], dtype=np.int64)
    cut(pa.concat_tables([many(left[left < 5], "second"), many(left[left >= 5])]))
    source.commit(MANY, "update", many(left[::11], "third"))
    rest = np.setdiff1d(left, left[::11])
    cut(pa.concat_tables([many(left[::11], "third"), many(rest[rest < 5], "second"), many(rest[rest >= 5])]))
    writer.close()
    return told
