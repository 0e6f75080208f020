"""Random histories of one table, as a source could have sent them. A stateful draw: only rows that exist change."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.lakehouse.replay import bits
from tests.lakehouse.source import Change, delete, insert, relation, truncate, update

KEYED = relation("public.keyed", {"id": pa.int64(), "name": pa.string(), "bio": pa.string()}, key=["id"])
BAG = relation("public.bag", {"kind": pa.string(), "weight": pa.float64(), "tags": pa.list_(pa.int64())})

NAMES = st.sampled_from(["a", "b", None])
WEIGHTS = st.sampled_from([0.0, -0.0, float("nan"), 1.5, None])
TAGS = st.sampled_from([None, [], [1], [1, None]])


@st.composite
def keyed_transactions(draw: st.DrawFn, rows: dict[int, None]) -> list[Change]:
    """A transaction on KEYED; ``rows`` holds the ids that exist, and is kept up to date."""
    changes: list[Change] = []
    for _ in range(draw(st.integers(1, 5))):
        free = [one for one in range(8) if one not in rows]
        deeds = (
            ["truncate"] * (draw(st.integers(0, 9)) == 0) + ["insert"] * bool(free) + ["update", "delete"] * bool(rows)
        )
        deeds += ["move"] * bool(free and rows) + ["swap"] * (len(rows) > 1)
        toast: dict[str, Any] = {"unchanged": ["bio"]} if draw(st.booleans()) else {"bio": draw(NAMES)}
        match draw(st.sampled_from(deeds or ["truncate"])):
            case "truncate":
                changes.append(truncate(KEYED))
                rows.clear()
            case "insert":
                new = draw(st.sampled_from(free))
                changes.append(insert(KEYED, id=new, name=draw(NAMES), bio=draw(NAMES)))
                rows[new] = None
            case "update":
                changes.append(update(KEYED, id=draw(st.sampled_from(sorted(rows))), name=draw(NAMES), **toast))
            case "delete":
                gone = draw(st.sampled_from(sorted(rows)))
                changes.append(delete(KEYED, id=gone))
                del rows[gone]
            case "move":
                old, new = draw(st.sampled_from(sorted(rows))), draw(st.sampled_from(free))
                changes.append(update(KEYED, old={"id": old}, id=new, name=draw(NAMES), **toast))
                del rows[old]
                rows[new] = None
            case "swap":  # as a deferred constraint lets it happen: for a moment two rows have one key
                one, two = draw(st.permutations(sorted(rows)))[:2]
                changes.append(update(KEYED, old={"id": one}, id=two, name=draw(NAMES), **toast))
                changes.append(update(KEYED, old={"id": two}, id=one, name=draw(NAMES), **toast))
    return changes


@st.composite
def bag_transactions(draw: st.DrawFn, rows: list[dict[str, Any]]) -> list[Change]:
    """A transaction on BAG, a table without a key in which equal rows repeat; ``rows`` is kept up to date."""
    changes: list[Change] = []
    for _ in range(draw(st.integers(1, 5))):
        new = {"kind": draw(NAMES), "weight": draw(WEIGHTS), "tags": draw(TAGS)}
        match draw(st.sampled_from(["insert"] * 3 + ["update", "delete"] * bool(rows) + ["touch"] * bool(rows))):
            case "insert":
                changes.append(insert(BAG, **new))
                rows.append(new)
            case "update":
                old = rows.pop(draw(st.integers(0, len(rows) - 1)))
                same = bits(list(old.values())) == bits(list(new.values()))
                changes.append(update(BAG, old=None if same else old, **new))
                rows.append(new)
            case "touch":
                changes.append(update(BAG, **draw(st.sampled_from(rows))))
            case "delete":
                changes.append(delete(BAG, **rows.pop(draw(st.integers(0, len(rows) - 1)))))
    return changes
