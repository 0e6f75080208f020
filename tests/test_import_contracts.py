"""Who may import whom is a check that fails, shown by breaking each rule in a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cdc", "lakehouse", "pipelines", "infra", "services")

# A rule's name as lint-imports prints it, the file that breaks it, and how.
BREACHES = [
    ("cdc: PostgreSQL in", "cdc/breach.py", "import lakehouse.errors"),
    ("cdc: PostgreSQL in", "cdc/breach.py", "from infra import postgres"),
    ("lakehouse: Arrow in", "lakehouse/breach.py", "import psycopg"),
    ("lakehouse: Arrow in", "lakehouse/breach.py", "import pipelines.config"),
    ("services: the platform", "services/directory/breach.py", "from cdc.lsn import Lsn"),
    ("infra: starts programs", "infra/breach.py", "import pipelines.config"),
    ("pipelines: reads the platform", "pipelines/breach.py", "import services.shared"),
    ("services: each stands alone", "services/directory/breach.py", "import services.auth"),
    ("services: each stands alone", "services/auth/breach.py", "import services.directory"),
    ("services: each stands alone", "services/shared/breach.py", "import services.directory"),
    ("services: each stands alone", "services/asset/breach.py", "import services.directory"),
    ("services: each stands alone", "services/web/breach.py", "import services.asset"),
    ("services: each stands alone", "services/shared/breach.py", "import services.web"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages as they are, and a second service."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    second_service = tmp_path / "services" / "auth" / "__init__.py"
    second_service.parent.mkdir(exist_ok=True)
    second_service.touch()
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"COLUMNS": "300"})


def test_packages_as_they_are_keep_every_rule(copy: Path) -> None:
    result = lint_imports(copy)

    assert result.returncode == 0, result.stdout
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(("rule", "file", "line"), BREACHES, ids=[f"{file}: {line}" for _, file, line in BREACHES])
def test_forbidden_import_fails_the_build_and_is_named(copy: Path, rule: str, file: str, line: str) -> None:
    (copy / file).write_text(f"{line}\n")

    result = lint_imports(copy)

    assert result.returncode == 1
    verdict = next(said for said in result.stdout.splitlines() if said.startswith(rule))
    assert verdict.endswith("BROKEN")
    assert file.removesuffix(".py").replace("/", ".") in result.stdout
