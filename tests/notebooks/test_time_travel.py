from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

from lakehouse.root import LakeRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, delete, insert, update

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "time_travel.py"


def unescaped(page: str) -> str:
    """A page's text: marimo puts JSON into HTML into JSON."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), page)
    return html.unescape(html.unescape(text)).replace("\\", "")


def test_the_notebook_shows_both_moments_what_changed_and_a_life(tmp_path: Path) -> None:
    root = LakeRoot(str(tmp_path / "lake"))
    live = LiveLake(root)
    live.commit(update(USERS, id=1, name="renamed", bio="b1"), actor="alice")
    live.commit(delete(USERS, id=2), insert(USERS, id=9, name="newcomer", bio="b9"), actor="bob")
    live.cut()
    live.writer.close()
    page = tmp_path / "page.html"
    export = [sys.executable, "-m", "marimo", "export", "html", str(NOTEBOOK), "-o", str(page), "--no-include-code"]

    done = subprocess.run(
        [*export, "--", "--lake", root.url, "--table", "public.users", "--key", "1", "--zone", "Asia/Tokyo"],
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(NOTEBOOK.parents[1])},
        capture_output=True,
        text=True,
        timeout=150,
    )

    assert done.returncode == 0, done.stderr
    shown = unescaped(page.read_text())
    for part in (
        "Then: public.users at 2026-01-31 18:00:00.000 Asia/Tokyo",
        "3 rows",
        "1 changed, 1 added, 1 removed",
        "name: n1 → renamed",
        "newcomer",
        "alice",
    ):
        assert part in shown, part
    assert "name: n0 →" not in shown
    # The row was n1 from the copy until alice's commit, a second later, and is renamed since then.
    assert re.search(r"2026-01-31 18:00:00\.000 Asia/Tokyo.{1,60}2026-01-31 18:00:01\.000 Asia/Tokyo", shown)
    assert "vega" in shown.lower()
