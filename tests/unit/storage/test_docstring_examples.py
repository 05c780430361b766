"""The examples in the docstrings of a storage run and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from localstore import Filter, Item, JsonStorage, Message, Run, Step, YamlStorage
from localstore.storage import storage as module
from tests.unit.maintenance.importing.claude_lines import ClaudeFile


def test_the_examples_give_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = ClaudeFile()
    source.asks("u1", "Which train?")
    source.write(tmp_path / "projects")
    names = {
        "storage": JsonStorage(tmp_path / "store"),
        "Message": Message,
        "Run": Run,
        "Step": Step,
        "Filter": Filter,
        "Item": Item,
        "YamlStorage": YamlStorage,
    }
    for name in (
        "append",
        "add_step",
        "update",
        "rate",
        "upsert",
        "delete_session",
        "read",
        "list_sessions",
        "sessions",
        "find_sessions",
        "sessions_beginning_with",
        "sessions_containing",
        "count",
        "stats",
        "search",
        "redact",
        "import_from",
        "copy_to",
        "merge_from",
        "path",
        "close",
        "fork",
        "undo",
        "append_items",
        "items",
        "pop_item",
        "replace_items",
        "revision",
    ):
        for example in doctest.DocTestFinder(recurse=False).find(getattr(module.Storage, name), name, globs=names):
            assert example.examples
            results = doctest.DocTestRunner().run(example, clear_globs=False)
            assert results.failed == 0
            names.update(example.globs)


@pytest.mark.parametrize(
    "name", ["format.line_changes", "storage.comparing", "storage.following", "storage.plain_session"]
)
def test_the_examples_of_a_module_give_what_they_say(tmp_path: Path, name: str) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("trip", Run(run_id="r1"))
    results = doctest.testmod(import_module(f"localstore.{name}"), extraglobs={"storage": storage, "Run": Run})
    assert results.attempted
    assert results.failed == 0
