"""`localstore import`: bring in the sessions of other programs."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from localstore.errors import LocalstoreError, StoreNotFound

from .. import output
from ..errors import FINDINGS
from ..store_option import open_or_make_store, open_store, store_option
from ..transfer_summary import transfer_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from localstore.maintenance.importing import Imported, Kind
    from localstore.storage.contract import SessionStorage

LANGGRAPH = "langgraph"
"""The kind that the adapter for LangGraph reads, with packages of LangGraph."""
KINDS = ("claude-code", "codex", "llm", "chatgpt", "openai-agents", "adk", LANGGRAPH, "agno", "atif")
"""The kinds of the library, which is not imported for `--help`, and that of the adapter."""


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.argument("path", metavar="PATH")
@click.option("--dry-run", is_flag=True, help="Only say what would be imported.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with the ids of the sessions.")
@store_option
def command(kind: str, path: str, dry_run: bool, as_json: bool, store: str | None) -> None:
    """Import the sessions of another program.

    \b
    KIND           PATH
    claude-code    ~/.claude, the folder of a project in it, or one .jsonl file
    codex          ~/.codex, or one rollout-*.jsonl file
    llm            logs.db of the command llm; 'llm logs path' prints where it is
    chatgpt        conversations.json of an export, or the folder of the export
    openai-agents  a database of the OpenAI Agents SDK (SQLiteSession)
    adk            a SQLite database of Google's ADK (DatabaseSessionService, SqliteSessionService)
    langgraph      a database of LangGraph's SqliteSaver or AsyncSqliteSaver
    agno           a SQLite database of agno 1.x, 2.x or 3.x, or a folder of its JSON files
    atif           trajectories in ATIF, as 'localstore export --format atif' writes them

    What the store has already is not imported again, so run it as often as you like. A run that you changed in the
    store stays as it is. Lines and sessions that cannot be read are named, and the exit code is 1. PATH itself does not
    change.
    """
    if not os.path.exists(path):
        raise click.UsageError(f"There is no file or folder '{path}'", click.get_current_context())
    if not os.path.isfile(path) and not os.path.isdir(path):
        problem = f"'{path}' is a pipe or a device. Write its content to a file, and import that"
        raise click.UsageError(problem, click.get_current_context())
    of_langgraph = _reader_of_langgraph() if kind == LANGGRAPH else None
    with contextlib.ExitStack() as stack:
        storage = _store_to_look_at(store, stack) if dry_run else open_or_make_store(store)
        gc.disable()  # an import makes very many objects, none of them garbage that it would find
        if of_langgraph is not None:
            result = of_langgraph(storage, Path(path), dry_run=dry_run)
        else:
            result = storage.import_from(cast("Kind", kind), path, dry_run=dry_run)
        gc.enable()
    for part in result.skipped:
        output.note(f"Not imported: {part}")
    if as_json:
        output.write_json(result.as_dict())
    else:
        output.write(f"{transfer_summary(result, 'Imported', 'Would import', items=result.items)}\n")
    if result.skipped:
        click.get_current_context().exit(FINDINGS)


def _reader_of_langgraph() -> Callable[..., Imported]:
    try:
        from localstore.integrations.langgraph import import_from
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("localstore"):
            raise
        raise LocalstoreError(
            f"Checkpoints are read with packages of LangGraph, and there is no module {error.name}. "
            "Run: pip install 'localstore-sessions[langgraph]'"
        ) from None
    return import_from


def _store_to_look_at(option: str | None, stack: contextlib.ExitStack) -> SessionStorage:
    """Return the store for a dry run: an empty one, which `stack` removes, if an import would create it."""
    try:
        return open_store(option)
    except StoreNotFound as error:
        root = click.get_current_context().find_root()
        if option is None and root.params.get("store") is None and not os.environ.get("LOCALSTORE_DIR"):
            raise
        output.note(f"There is no store in {error.path} yet.")
    from tempfile import TemporaryDirectory

    from localstore.storage.storage import JsonStorage

    return JsonStorage(stack.enter_context(TemporaryDirectory()))
