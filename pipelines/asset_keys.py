"""What the parts of the flow are called in Dagster's asset graph.

pg/<schema>/<table>  ─►  cdc/stream  ─►  changelog/<schema>/<table>  ─►  current/<schema>/<table>  ─►  cuts
                                     └►  transactions   └─►  history/<schema>/<table>   ──────►
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from dagster import AssetKey

from cdc.relation import TableName

Station = Literal["pg", "changelog", "current", "history"]

STREAM = AssetKey(["cdc", "stream"])
TRANSACTIONS = AssetKey(["transactions"])
CUTS = AssetKey(["cuts"])

_PLAIN = re.compile(r"\A[A-Za-z0-9]+(_[A-Za-z0-9]+)*\Z")


def asset_key(station: Station, name: TableName) -> AssetKey:
    return AssetKey([station, _part(name.schema), _part(name.table)])


def _part(name: str) -> str:
    """The name itself where Dagster can make a Python identifier of it, joined by ``__``; else one that no other
    name has: what is readable of it, and a digest.
    """
    if _PLAIN.match(name):
        return name
    readable = "_".join(re.findall(r"[A-Za-z0-9]+", name))
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{readable}_x{digest}" if readable else f"x{digest}"
