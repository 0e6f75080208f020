"""A version of a table with a tail over it, as a Delta table of its own on this machine.

One commit names the lake's data files, hides the rows that the tail took away, and adds what they became. So an engine
reads a moment between two cuts as it reads a cut: it skips files and row groups, and applies deletion vectors while it
scans; a join that leaves out the changed keys would look at every row. Only for lakes on a local disk: DuckDB takes an
absolute path for a data file, but no URL.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap64

from lakehouse import deletion_vector, parquet
from lakehouse.columns import VALID_FROM, TableColumns
from lakehouse.errors import HistoryIncomplete
from lakehouse.hide import hidden_in
from lakehouse.log import now_ms
from lakehouse.log_past import states
from lakehouse.opening import OpenLake, reading
from lakehouse.root import LakeRoot
from lakehouse.table_state import Action, LiveFile, TableState

MOST_FILES = 2_000  # with more of them, writing their names down takes longer than a scan gains
_GROUP_ROWS = 1 << 13
_ROW = "_valid_to"  # a name that no column of `current` has
_FEATURES = ["deletionVectors", "timestampNtz"]


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A version, and rows of it that a tail takes away: ``hidden`` of each file that loses some, in all."""

    state: TableState
    table: str  # below the root
    hidden: Mapping[str, BitMap64]
    name: str = field(default_factory=lambda: uuid.uuid4().hex)


def version_state(root: LakeRoot, table: str, version: int, subject: str) -> TableState:
    """What the table's log adds up to at one version. Raises: CorruptCommit, HistoryIncomplete."""

    def read() -> TableState:
        state = next(iter(states(root.store(), table, subject, version)), None)
        if state is None or state.version != version:
            raise HistoryIncomplete(f"version {version} is no longer in its log", subject=subject)
        return replace(state, files=dict(state.files), markers=dict(state.markers))

    return root.once(("state", table, version), read) if isinstance(root, OpenLake) else read()


def taken_from(
    root: LakeRoot, table: str, state: TableState, schema: pa.Schema, keys: pa.Table, subject: str
) -> tuple[pa.Table, Overlay]:
    """The version's rows that have one of ``keys``, with the columns of ``schema``, and the version without them."""
    files = list(state.files.values())
    starts = np.concatenate([[0], np.cumsum([file.row_count for file in files])])
    found = schema.empty_table().append_column(_ROW, pa.array([], pa.int64()))
    if files:
        with reading(subject):
            rows = (
                pl.scan_parquet(
                    [f"{root.url}/{table}/{file.path}" for file in files],
                    schema=pl.from_arrow(schema.empty_table()).schema,  # type: ignore[union-attr]
                    glob=False,
                    missing_columns="insert",
                    extra_columns="ignore",
                    row_index_name=_ROW,
                    storage_options=root.storage_options,
                )
                .join(pl.from_arrow(keys).lazy(), on=keys.column_names, how="semi", nulls_equal=True)  # type: ignore[union-attr]
                .collect()
            )
        found = rows.to_arrow()
    places = np.asarray(found[_ROW]).astype(np.int64)
    number = np.searchsorted(starts, places, side="right") - 1
    alive = np.ones(len(places), dtype=np.bool_)
    hidden: dict[str, BitMap64] = {}
    store = root.store()
    for index, file in enumerate(files):
        before = hidden_in(store, table, file, subject)
        within = np.flatnonzero(number == index)
        here = places[within] - starts[index]
        if len(before):
            alive[within] = [row not in before for row in here.tolist()]
        if alive[within].any():
            hidden[file.path] = before | BitMap64(here.tolist())
    return found.drop_columns([_ROW]).filter(pa.array(alive)), Overlay(state, table, hidden)


def write(folder: Path, root: LakeRoot, overlay: Overlay, became: pa.Table, columns: TableColumns) -> None:
    """Make the table in an empty folder."""
    (folder / "_delta_log").mkdir(parents=True)
    added = [_action(folder, root, overlay, file) for file in overlay.state.files.values()]
    if became.num_rows:
        rows = became.sort_by([(name, "ascending") for name in columns.key])
        body = parquet.encode(rows, _GROUP_ROWS, for_scans=True)
        (folder / "became.parquet").write_bytes(body)
        stats = parquet.statistics(rows, tuple(VALID_FROM.names))
        added.append(LiveFile("became.parquet", len(body), {}, now_ms(), stats).add())
    protocol: Action = {"minReaderVersion": 3, "minWriterVersion": 7}
    protocol |= {"readerFeatures": _FEATURES, "writerFeatures": _FEATURES}
    lines = [{"protocol": protocol}, {"metaData": overlay.state.metadata}, *added]
    (folder / "_delta_log" / f"{0:020}.json").write_text("\n".join(json.dumps(line) for line in lines))


def _action(folder: Path, root: LakeRoot, overlay: Overlay, file: LiveFile) -> Action:
    hidden = overlay.hidden.get(file.path)
    if hidden is None and file.deletion_vector is not None:
        file = replace(file, deletion_vector=_elsewhere(file.deletion_vector, f"{root.url}/{overlay.table}"))
    elif hidden is not None:
        # A vector file for each data file: engines read the whole of it.
        vectors, vector_file = deletion_vector.encode({file.path: hidden})
        if vector_file is not None:
            (folder / vector_file[0]).write_bytes(vector_file[1])
        file = file.with_vector(vectors[file.path])
    return replace(file, path=quote(f"{root.url}/{overlay.table}/{file.path}")).add()


def _elsewhere(vector: deletion_vector.Descriptor, table: str) -> deletion_vector.Descriptor:
    """The same vector, told so that it is found from a table in another place."""
    path = deletion_vector.file_of(vector)
    return (
        vector
        if path is None
        else {**vector, "storageType": "p", "pathOrInlineDv": f"file://{quote(f'{table}/{path}')}"}
    )
