"""Where a stream ends in the lake, as any process may read it, without opening what only its writer opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.lsn import Lsn
from lakehouse.root import LakeRoot
from lakehouse.table_state import load
from lakehouse.transactions import position_in, source_in


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """``durable_to``: every change with a commit LSN below it is in the lake; None before the first batch.

    ``source``: what the lake remembers of the stream's source (``system``, ``database``, ``timeline``).
    """

    durable_to: Lsn | None
    source: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, root: LakeRoot, stream: str) -> StreamEnd:
        """Raises what reading a Delta log raises."""
        markers = load(root.store(), "transactions", "transactions").markers
        return cls(position_in(markers, stream), source_in(markers, stream))
