from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.names import from_segment, to_segment


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63))
def test_every_name_has_a_safe_segment_of_its_own_that_says_it_back(name: str) -> None:
    segment = to_segment(name)

    assert re.fullmatch(r"[A-Za-z0-9_.-]+", segment)
    assert segment.strip(".")
    assert from_segment(segment) == name


def test_plain_names_stay_as_they_are() -> None:
    assert to_segment("Order_items-2") == "Order_items-2"


@pytest.mark.parametrize("segment", ["", "a.b", "a%20", "a b", ".61", "..", ".ff"])
def test_a_segment_that_no_name_makes_is_refused(segment: str) -> None:
    with pytest.raises(ValueError):
        from_segment(segment)
