"""How tables are spelled."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.relation import TableName

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1) | st.sampled_from(
    (".", '"', '"a"', "a.b", '".', '."')
)


@given(NAMES, NAMES)
@example("a.b", "c.d")
@example('"x"', '"y')
def test_every_name_says_itself_and_no_other_says_the_same(schema: str, table: str) -> None:
    name = TableName(schema, table)

    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "schema", "table"),
    [
        ("public.orders", "public", "orders"),
        ("public.a.b", "public", "a.b"),
        ('"a.b".c', "a.b", "c"),
        ('"a.b"."c ""d"""', "a.b", 'c "d"'),
    ],
)
def test_a_table_may_be_spelled_as_in_sql(text: str, schema: str, table: str) -> None:
    assert TableName.parse(text) == TableName(schema, table)


@pytest.mark.parametrize("text", ["", "orders", ".orders", "public.", '"a.b', '"".x'])
def test_what_names_no_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema\.table"):
        TableName.parse(text)
