"""Values that TOAST left out of an update: they are those of the row before.

That row is an earlier change of the same batch, which may itself have left the value out, or a row of the table. The
chain is followed for all rows at once: each step doubles how far every row looks back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.fold import Longs, Settled, unchanged

Fetch = Callable[[Longs, str], pa.ChunkedArray]
"""One column of the table's rows: the i-th found rows, in the order asked."""


def whole_rows(rows: pa.Table, settled: Settled, columns: Sequence[str], fetch: Fetch) -> pa.Table:
    """The changes that stay, with every column of ``columns`` filled; one row per entry of ``settled.kept``."""
    kept = rows if len(settled.kept) == rows.num_rows else rows.take(pa.array(settled.kept))
    if pc.sum(pc.list_value_length(kept["_unchanged"])).as_py() in (None, 0):
        return kept
    for name in columns:
        left_out = unchanged(rows, name)
        source = _source(left_out, settled.predecessor)[settled.kept]
        if not left_out[settled.kept].any():
            continue
        in_table = source < 0
        found, position = np.unique(-1 - source[in_table], return_inverse=True)
        values = rows[name]
        if len(found):
            values = pa.chunked_array([*values.chunks, *fetch(found, name).cast(values.type).chunks], values.type)
            source[in_table] = rows.num_rows + position
        kept = kept.set_column(kept.column_names.index(name), kept.field(name), values.take(pa.array(source)))
    return kept


def _source(left_out: np.ndarray[tuple[int], np.dtype[np.bool_]], predecessor: Longs) -> Longs:
    """Per change, where its value stands: a change that has it, or below zero a row of the table."""
    source = np.where(left_out, predecessor, np.arange(len(predecessor)))
    while True:
        further = np.where(source >= 0, source[source], source)
        if np.array_equal(further, source):
            return source
        source = further
