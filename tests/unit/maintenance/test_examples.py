"""The examples in the docstrings of the public functions."""

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "check",
    "git",
    "importing.fields",
    "importing.json_text",
    "importing.parts",
    "importing.plan",
    "importing.runs",
    "importing.source",
    "importing.tree",
    "repair",
    "rescue",
    "trash",
    "upgrade.apply",
    "upgrade.convert",
    "upgrade.plan",
]


@pytest.mark.parametrize("name", MODULES)
def test_every_example_gives_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples create a store in the working directory."""
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(f"localstore.maintenance.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
