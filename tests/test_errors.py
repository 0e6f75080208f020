"""Every error that a person may see says what happened, to which object, and what to type next."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator

import pytest

import cdc
import infra.errors
import lakehouse.errors
import pipelines
from cdc.errors import RirekiError
from pipelines.cli import COMMANDS, app
from pipelines.errors import ConfigInvalid, Problem

SUBJECT = "the very object"

# How to make one whose constructor isn't the base's.
MADE_OTHERWISE: dict[type[RirekiError], Callable[[], RirekiError]] = {
    ConfigInvalid: lambda: ConfigInvalid(SUBJECT, [Problem("capture.max_batch_rows", "must be > 0, got 0")]),
}


def leaves(kind: type[RirekiError]) -> Iterator[type[RirekiError]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for subclass in below:
        yield from leaves(subclass)


PACKAGES = (cdc, lakehouse, pipelines, infra)
LEAVES = sorted(set(leaves(RirekiError)), key=lambda leaf: leaf.__name__)  # as far as the errors modules tell


def made(leaf: type[RirekiError]) -> RirekiError:
    make = MADE_OTHERWISE.get(leaf, lambda: leaf("it broke", subject=SUBJECT))
    return make()


each_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)


def test_every_package_has_its_branch_and_no_error_hides_outside_it() -> None:
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    assert {kind.__module__ for kind in RirekiError.__subclasses__()} == {f"{p.__name__}.errors" for p in PACKAGES}
    assert [leaf for leaf in leaves(RirekiError) if leaf not in LEAVES] == []


@each_leaf
def test_error_names_its_object_and_its_fix(leaf: type[RirekiError]) -> None:
    error = made(leaf)

    assert SUBJECT in str(error)
    assert error.what in str(error)
    assert error.fix.strip()
    assert not re.search(r"\{\w*\}", error.fix), "a placeholder that nobody filled"


@each_leaf
def test_error_is_drawn_in_its_modules_tree(leaf: type[RirekiError]) -> None:
    tree = sys.modules[leaf.__module__].__doc__ or ""

    assert re.search(rf"─ {leaf.__name__}\b", tree)


@each_leaf
def test_fix_names_only_commands_and_options_that_exist(leaf: type[RirekiError]) -> None:
    for command, words in re.findall(r"\brireki ([a-z]+)\b([^;,(]*)", made(leaf).fix):
        assert command in COMMANDS
        options = set(re.findall(r"--[a-z-]+", words))
        known = {name for argument in app[command].assemble_argument_collection() for name in argument.names}
        assert options <= known | {"--help"}
