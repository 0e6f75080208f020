"""docs/guarantees.md and docs/guideline.md name tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
GUIDELINE = ROOT / "docs" / "guideline.md"


def test_each_promise_names_tests_that_are_there() -> None:
    sections = PAGE.read_text().split("\n## ")[1:]
    promises = [section for section in sections if not section.startswith("What is not promised")]
    bare, missing = [], []

    for promise in promises:
        items = re.findall(r"^- `(tests/[^`]+)`: (.+?)(?=\n- |\Z)", promise.strip(), re.DOTALL | re.MULTILINE)
        if not items:
            bare.append(promise.splitlines()[0])
        for path, names in items:
            source = (ROOT / path).read_text() if (ROOT / path).exists() else ""
            missing += [f"{path}: {n}" for n in re.findall(r"`(test_\w+)`", names) if f"def {n}(" not in source]

    assert promises
    assert (bare, missing) == ([], [])


def test_each_clause_of_the_guideline_names_a_test_file_that_is_there() -> None:
    rows = [line.split(" | ") for line in GUIDELINE.read_text().splitlines() if re.match(r"\| (SO|PM|Q&A) ", line)]
    there = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}

    held = {" ".join(row[:2]): set(re.findall(r"`(test_\w+)`", row[3])) for row in rows}

    assert len(rows) >= 12
    assert {clause for clause, names in held.items() if not names} == set()
    assert {clause: names - there for clause, names in held.items() if names - there} == {}
