"""Every refusal names its fix, and has its place in the tree that the module draws."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.shared import errors
from services.shared.errors import ServiceError
from services.web import edge


def _leaves(error: type[ServiceError]) -> Iterator[type[ServiceError]]:
    below = error.__subclasses__()
    if not below:
        yield error
    for each in below:
        yield from _leaves(each)


@pytest.mark.parametrize("leaf", list(_leaves(ServiceError)), ids=lambda leaf: leaf.__name__)
def test_every_refusal_has_a_status_a_kind_and_a_fix_of_its_own(leaf: type[ServiceError]) -> None:
    assert 400 <= leaf.status < 600
    assert leaf.kind != ServiceError.kind
    assert leaf("what").fix != ServiceError.default_fix


def test_the_tree_is_drawn_whole() -> None:
    drawn = {line.split()[1]: line.split()[2] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    shared = [leaf for leaf in _leaves(ServiceError) if leaf is not edge.BodyTooLarge]

    assert drawn == {leaf.__name__: str(leaf.status) for leaf in shared}
