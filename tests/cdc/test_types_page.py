"""docs/types.md and the code say the same of every type with a rule of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from cdc.types import FIXED

PAGE = Path(__file__).parents[2] / "docs" / "types.md"
WORDS = {
    pa.bool_(): "boolean",
    pa.int64(): "long",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.binary(): "binary",
    pa.string(): "string",
}


def test_the_page_names_each_type_with_its_lake_type() -> None:
    told: dict[str, str] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split(" | ")]) >= 2:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                told[name.strip('"')] = cells[1]

    assert {name: told.get(name) for name in FIXED} == {name: WORDS[rule[1]] for name, rule in FIXED.items()}
