"""Where a lake may lie."""

from __future__ import annotations

import pytest

from lakehouse.errors import LakeUnreachable
from lakehouse.root import LakeRoot


@pytest.mark.parametrize("folder", ["/srv/my lake", "/srv/a%20b", "/srv/履歴"])
def test_a_folder_that_not_every_reader_can_open_is_refused(folder: str) -> None:
    with pytest.raises(LakeUnreachable, match="letters, digits"):
        LakeRoot(folder)


def test_an_ordinary_folder_is_taken() -> None:
    assert LakeRoot("file:///srv/lake-1_2.d").url == "/srv/lake-1_2.d"
