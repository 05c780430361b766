"""A real editor saves a document while localstore rewrites it: each save is kept.

`tests/unit/engine/test_saves.py` saves at each single call to the disk; here, the system decides about the moments.
"""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localstore import JsonStorage, LocalstoreError, Message, Run, YamlStorage
from tests.crash.editor import HOWS
from tests.effort import ci_only, rounds

HOME = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@pytest.mark.parametrize("how", HOWS)
def test_every_save_during_rewrites_is_kept(
    kind: type[JsonStorage] | type[YamlStorage], how: str, tmp_path: Path
) -> None:
    _race(kind(tmp_path / "store"), how, size=10_000, count=rounds(10, 60, 3000), pause=0.02)


@ci_only
@pytest.mark.parametrize("how", HOWS)
def test_every_save_during_rewrites_of_a_large_document_is_kept(how: str, tmp_path: Path) -> None:
    _race(JsonStorage(tmp_path / "store"), how, size=5_000_000, count=rounds(5, 12, 300), pause=0.2)


def _race(storage: JsonStorage | YamlStorage, how: str, *, size: int, count: int, pause: float) -> None:
    """Rename, tag, rate and upsert until an editor has saved `count` times. Then look for each of its saves."""
    for number in range(10):
        text = "x" * (size // 10)
        storage.append("s", Run(run_id=f"r{number}", messages=[Message(role="user", content=text)]))
    storage.update("s", metadata={"a": 1})
    path = storage.path("s")
    arguments = [sys.executable, "-m", "tests.crash.editor", str(path), how, str(count), str(pause)]
    editor = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOME)
    assert editor.stdin is not None
    assert editor.stdout is not None
    assert editor.stdout.readline() == "ready\n"
    printed: list[str] = []
    thread = threading.Thread(target=lambda: printed.extend(editor.stdout or []))
    thread.start()
    editor.stdin.write("go\n")
    editor.stdin.flush()
    number = calls = 0
    while editor.poll() is None:
        number += 1
        with contextlib.suppress(LocalstoreError):  # the editor is in the middle of a save, or saves all the time
            _rewrite(storage, number)
            calls += 1
    thread.join()
    editor.stdin.close()
    editor.stdout.close()
    assert editor.returncode == 0
    # Two saves in the moment of one exchange of names: the earlier one stays in a file of its own, which `check` names.
    text = "".join(file.read_text() for file in path.parent.iterdir() if file.is_file())
    saved = [line.split()[1] for line in printed]
    assert len(saved) == count
    assert [key for key in saved if key not in text] == []
    assert calls > 0


def _rewrite(storage: JsonStorage | YamlStorage, number: int) -> None:
    match number % 4:
        case 0:
            storage.update("s", name=f"name {number}")
        case 1:
            storage.update("s", tags=[f"tag{number}"])
        case 2:
            storage.rate("s", "r1", "good" if number % 8 == 2 else "bad")
        case _:
            session = storage.read("s")
            assert session is not None
            session.runs[0].messages[0].content = f"changed {number}"
            storage.upsert(session)
