"""Dagster's way in: everything in ``pipelines/defs``, as one code location.

What a definition does is in the plain modules beside this one; a decorator only names it and reports what they found.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
