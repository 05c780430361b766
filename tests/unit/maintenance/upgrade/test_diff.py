"""The diff of a change: `patch -p1` turns the old files into exactly the new ones."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from localstore.maintenance.upgrade import Problem, make_plan, preview, unified_diff, upgrade
from localstore.maintenance.upgrade.preview import Change
from tests.unit.maintenance.upgrade.old_folders import agno_bytes, folder_of_agno, in_month, old_session, tree_of
from tests.unit.raw import Storage, answered

PATCH = shutil.which("patch") or ""
with_patch = pytest.mark.skipif(not PATCH, reason="needs patch")


def patched(folder: Path, change: Change, diff: bytes | None = None) -> None:
    """Apply the diff of a change to a folder with the old file, and check the new one."""
    old = folder / change.path
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(change.old)
    apply(folder, b"".join(unified_diff(change)) if diff is None else diff)
    assert (folder / change.new_path).read_bytes() == change.new
    assert change.path == change.new_path or not old.exists()


def apply(folder: Path, diff: bytes) -> None:
    done = subprocess.run([PATCH, "-p1", "--posix" if not diff.startswith(b"diff") else "-s"], cwd=folder, input=diff,
                          capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)


CONTENTS = [
    (b"a\nb\nc\n", b"a\nB\nc\n"),
    (b"a\nb", b"a\nb\n"),
    (b"a\nb\n", b"a\nb"),
    (b"a", b"b"),
    (b"", b"a\nb\n"),
    (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\n"),
    (b"a\rb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n", b"a\rb\x0cC\x1cd\xc2\x85e\xe2\x80\xa8f\n"),
    (b"-- a\n-- b\n", b"++ a\n"),
    (b"\n\n\n", b"\n\n"),
    (b"".join(b"%d\n" % n for n in range(50)), b"".join(b"%d\n" % (n if n % 20 else -n) for n in range(1, 55))),
]


@with_patch
@pytest.mark.parametrize(("old", "new"), CONTENTS)
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "in place"])
def test_patch_gives_the_new_bytes(tmp_path: Path, old: bytes, new: bytes, moved: bool) -> None:
    """No newline at the end, carriage returns, characters that some take for line ends."""
    patched(tmp_path, Change("s1.json", "sessions/2026-11/s1.json" if moved else "s1.json", old, new))


@with_patch
@pytest.mark.parametrize(
    "name", ["a b", "Zoë", 'quo"te', "back\\slash", "tab\there", "日本", "-p0", "new\nline", "a' b"]
)
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "in place"])
def test_names_that_need_quotes(tmp_path: Path, name: str, moved: bool) -> None:
    """Patch finds the file."""
    path = f"{name}.json"
    patched(tmp_path, Change(path, f"sessions/x/{path}" if moved else path, b"1\n2\n3\n4\n5\n", b"1\n2\n3\n4\n6\n"))


@with_patch
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_the_diff_of_an_upgrade_makes_the_upgraded_documents(tmp_path: Path, suffix: str) -> None:
    """All of a folder in one diff, and nothing changes by looking."""
    names = ["a", "b c", "Zoë"]
    before = tree_of(folder_of_agno(tmp_path / "f", names, suffix))
    shutil.copytree(tmp_path / "f", tmp_path / "patched")
    changes = list(preview(make_plan(tmp_path / "f")))
    assert tree_of(tmp_path / "f") == before
    diff = b""
    for change in changes:
        assert isinstance(change, Change)
        diff += b"".join(unified_diff(change))
    apply(tmp_path / "patched", diff)
    upgrade(tmp_path / "f")
    assert bytes_of(tmp_path / "patched") == bytes_of(tmp_path / "f" / "sessions", "sessions/")


def bytes_of(folder: Path, prefix: str = "") -> dict[str, bytes]:
    return {prefix + name: one[1] for name, one in tree_of(folder).items() if one[1] is not None}


@pytest.mark.timeout(100)
@pytest.mark.parametrize("kind", ["different", "the same line", "few kinds of lines", "shuffled", "one changed"])
def test_huge_documents_take_bounded_time(tmp_path: Path, kind: str) -> None:
    """Finding the smallest diff takes quadratic time or more; many equal lines are the worst case."""
    numbers = random.Random(1)
    for lines in (4900, 60_000):
        old, new = [b"    line %d\n" % n for n in range(lines)], [b"  line %d\n" % n for n in range(lines)]
        if kind == "the same line":
            old, new = [b"}\n", b"x\n"] * (lines // 2), [b"}\n", b"y\n"] * (lines // 2)
        elif kind == "few kinds of lines":
            old, new = ([b"%d\n" % numbers.randrange(5) for _ in range(lines)] for _ in range(2))
        elif kind == "shuffled":
            new = old.copy()
            numbers.shuffle(new)
        elif kind == "one changed":
            new = [*old[:1000], b"new\n", *old[1001:]]
        change = Change("s1.json", "s1.json", b"".join(old), b"".join(new))
        began = time.process_time()
        diff = b"".join(unified_diff(change))
        assert time.process_time() - began < 10
        assert kind != "one changed" or diff.count(b"\n") < 20
        if PATCH:
            patched(tmp_path, change, diff)


def test_a_document_that_cannot_be_upgraded_is_a_problem_of_the_preview(storage: Storage) -> None:
    """Its content is not shown; a document deleted meanwhile is left out."""
    storage.append("new", answered("r1"))
    path = in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    gone = in_month(storage, "gone.json", agno_bytes(old_session("gone"), ".json"))
    twice = agno_bytes(old_session("twice"), ".json").replace(b'"user_id"', b'"user_id": 1, "user_id"')
    strict = in_month(storage, "twice.json", twice)
    plan = make_plan(storage.root)
    gone.unlink()
    found = list(preview(plan))
    assert {type(one) for one in found} == {Change, Problem}
    for one in found:
        assert (one.path == "sessions/2026-11/old.json") if isinstance(one, Change) else (one.path == str(strict))
    assert path.read_bytes() == agno_bytes(old_session("old"), ".json")
