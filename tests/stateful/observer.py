"""What a storage answers, and another process that answers the same questions: `python -m tests.stateful.observer`.

Each line on standard input is a request (a JSON object), each line on standard output its answer. Every request opens
the store anew, as a new process does.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from localstore import JsonStorage, LocalstoreError, Message, Run, YamlStorage
from tests.crash.writer import STORAGES

Storage = JsonStorage | YamlStorage
_HOME = Path(__file__).parents[2]


def look(storage: Storage, session_ids: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    """Return what the storage says: `listed`, `read` and `found`, and `named`, the files that it reports."""
    listed = {
        info.session_id: {"path": str(info.path), "runs": info.runs, "problem": info.problem}
        for info in storage.list_sessions()
    }
    named = [*storage.unreadable_files(), *storage.ignored_files(), *storage.duplicate_files()]
    return {
        "listed": listed,
        "named": sorted({str(path) for path in named}),
        "read": {session_id: _read(storage, session_id) for session_id in session_ids},
        "found": {word: sorted({hit.session_id for hit in storage.search(word, limit=None)}) for word in words},
    }


def _read(storage: Storage, session_id: str) -> Any:
    """The texts of the runs, None for a missing session, or the error as text."""
    try:
        session = storage.read(session_id)
        tail = storage.read(session_id, last_runs=1)
    except LocalstoreError as error:
        return f"{type(error).__name__}: {error}"
    if session is None or tail is None:
        assert session is tail
        return None
    assert [run.model_dump() for run in tail.runs] == [run.model_dump() for run in session.runs[-1:]]
    return {run.run_id: [message.content for message in run.messages] for run in session.runs}


def append(storage: Storage, session_id: str, run_id: str, text: str) -> str | None:
    """Append a run. Return the error as text, or None."""
    run = Run(run_id=run_id, messages=[Message(role="user", content=text)], status="completed")
    try:
        storage.append(session_id, run)
    except LocalstoreError as error:
        return f"{type(error).__name__}: {error}"
    return None


class OtherProcess:
    """A process that opens stores and answers. It ends with the `with` statement."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stateful.observer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_HOME
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def look(self, root: Path, suffix: str, session_ids: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
        """As the function of this name, in a storage that is opened for it."""
        answer: dict[str, Any] = self._ask({"root": str(root), "suffix": suffix, "look": [session_ids, words]})
        return answer

    def append(self, root: Path, suffix: str, session_id: str, run_id: str, text: str) -> str | None:
        """As the function of this name, in a storage that is opened for it."""
        answer: str | None = self._ask({"root": str(root), "suffix": suffix, "append": [session_id, run_id, text]})
        return answer

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the other process has ended"
        return json.loads(line)


def main() -> None:
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        storage = STORAGES[request["suffix"]](Path(request["root"]))
        answer = look(storage, *request["look"]) if "look" in request else append(storage, *request["append"])
        storage.close()
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
