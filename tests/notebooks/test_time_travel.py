from __future__ import annotations

import html
import os
import subprocess
import sys
from pathlib import Path

from lakehouse.root import LakeRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, delete, insert, update

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "time_travel.py"


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
        [*export, "--", "--lake", root.url, "--table", "public.users", "--key", "1"],
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(NOTEBOOK.parents[1])},
        capture_output=True,
        text=True,
        timeout=150,
    )

    assert done.returncode == 0, done.stderr
    shown = html.unescape(page.read_text())
    for part in ("public.users: 3 rows; complete to", "2 row versions ended, 2 began", "newcomer", "renamed", "alice"):
        assert part in shown, part
    assert "vega" in shown.lower()
