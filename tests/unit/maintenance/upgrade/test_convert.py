"""Converting JSON to YAML and back changes nothing else."""

import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localstore import JsonStorage, SessionNotFound, YamlStorage
from localstore.disk import backup_folder
from localstore.maintenance.upgrade import convert, undo
from tests import oracle
from tests.effort import ci_only, rounds
from tests.unit.conftest import StorageClass
from tests.unit.maintenance.upgrade.old_folders import (
    agno_bytes,
    documents_of,
    ids,
    in_month,
    newer_bytes,
    old_session,
    runs,
)
from tests.unit.raw import Storage, answered, in_our_layout

Format = Literal["json", "yaml"]
OTHER: dict[str, Format] = {".json": "yaml", ".yaml": "json"}


def other_format(storage: Storage) -> Format:
    return "yaml" if type(storage) is JsonStorage else "json"


def own_format(storage: Storage) -> Format:
    return "json" if type(storage) is JsonStorage else "yaml"


def test_all_documents_and_back(storage: Storage) -> None:
    """In our layout, where they stood; the second time there is nothing to do; back, they have the same bytes."""
    for number in range(3):
        storage.append(f"s{number}", answered("r1", "Grüße\naus Wien\n", "\ttab"), user_id="alice")
    before = documents_of(storage.root)
    folder = storage.path("s1").parent
    to = other_format(storage)
    done = convert(storage, to)
    assert (done.documents, done.problems) == (3, [])
    for one in oracle.sessions(storage.root).values():
        oracle.assert_own_layout(one)
        assert (one.path.suffix, one.path.parent) == (f".{to}", folder)
    assert convert(storage, to).backup is None
    storage.append("s1", answered("r2"))
    assert runs(storage.root, "s1") == ["r1", "r2"]
    assert storage.path("s1").suffix == f".{to}"
    undo(storage.root)
    convert(storage, to, ["s0", "s2"])
    convert(storage, own_format(storage), ["s0", "s2"])
    after = documents_of(storage.root)
    assert {name: one for name, one in after.items() if "s1" not in name} == {
        name: one for name, one in before.items() if "s1" not in name
    }


def test_only_the_named_sessions_are_converted(storage: Storage) -> None:
    """One that is in the format already is nothing to do; one that does not exist is an error before any is."""
    for number in range(3):
        storage.append(f"s{number}", answered("r1"))
    before = documents_of(storage.root)
    with pytest.raises(SessionNotFound):
        convert(storage, other_format(storage), ["s1", "nobody"])
    assert documents_of(storage.root) == before
    assert convert(storage, own_format(storage), ["s1"]).backup is None
    assert convert(str(storage.root), other_format(storage), ["s1", "s1"]).documents == 1
    found = {name: one.path.suffix for name, one in oracle.sessions(storage.root).items()}
    assert found["s1"] != found["s0"] == found["s2"]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)  # what the parser of the judge takes
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
    | st.sampled_from(
        ["no", "1e3", "~", "null", "12:30", "2026-11-22", "- a", "# c", "a: b", "\n", " x\n y\n\n", "..."]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(state=st.dictionaries(_TEXT, _VALUES, max_size=4), text=_TEXT, tags=st.lists(_TEXT, max_size=2))
@settings(
    max_examples=rounds(30, 150, 5000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.parametrize("to", ["yaml", "json"])
def test_nothing_is_lost_either_way(
    tmp_path_factory: pytest.TempPathFactory, to: Format, state: dict[str, Any], text: str, tags: list[str]
) -> None:
    """Floats, large integers, Unicode, texts of several lines, nulls, what is empty: judged by other parsers."""
    root = tmp_path_factory.mktemp("store")
    storage = JsonStorage(root) if to == "yaml" else YamlStorage(root)
    storage.append("s1", answered("r1", text, text[::-1]))
    storage.update("s1", session_state=state, tags=tags, name=text or None, metadata=state)
    before = oracle.sessions(root)["s1"]
    done = convert(root, to)
    assert (done.documents, done.problems) == (1, [])
    after = oracle.sessions(root)["s1"]
    oracle.assert_own_layout(after)
    assert exactly(after.header) == exactly(before.header)
    assert exactly(after.history) == exactly(before.history)
    convert(root, "json" if to == "yaml" else "yaml")
    assert oracle.sessions(root)["s1"].raw == before.raw


def exactly(value: Any) -> str:
    """Equal for equal values of equal types, in the same order."""

    def form(value: Any) -> Any:
        if isinstance(value, float):
            return f"float {math.copysign(1, value)} {value.hex()}"
        if isinstance(value, dict):
            return [[key, form(one)] for key, one in value.items()]
        return [form(one) for one in value] if isinstance(value, list) else value

    return json.dumps(form(value))


HEAD = 'schema_version: 1\nsession_id: s1\nkind: agent\ncreated_at: "2026-11-22T07:01:20.123Z"\n'
FOREIGN: dict[str, bytes] = {
    "crlf.json": b'{\r\n"schema_version": 1, "session_id": "s1", "kind": "agent",\r\n"created_at": "x",\r\n'
    b'"history": [{"type": "run", "run_id": "r1", "created_at": "x", "status": "completed"}]}\r\n',
    "bom.json": b'\xef\xbb\xbf{"history": [], "kind": "team", "schema_version": 1, "session_id": "s1", '
    b'"own": [1.0, null, {}], "created_at": "x"}',
    "crlf.yaml": f"{HEAD}history: []\n".replace("\n", "\r\n").encode(),
    "bom.yaml": b"\xef\xbb\xbf"
    + f"{HEAD}history:\n    - {{type: update, created_at: x,".encode()
    + b" session_state: {a: 1.0, b: [], c: ~}}\n",
    "comments.yaml": f"# mine\n{HEAD}history: # there\n  # and there\n  - type: update\n    created_at: x\n"
    "    session_state:\n      # inside\n      a: |\n        # text\n".encode(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_documents_in_a_foreign_layout(tmp_path: Path, name: str) -> None:
    """The same values come out; the old file is in the backup as it was, and comes back as it was."""
    storage = JsonStorage(tmp_path / "store")
    path = in_month(storage, name, FOREIGN[name])
    before = oracle.sessions(storage.root)["s1"]
    done = convert(storage, OTHER[path.suffix])
    assert (done.documents, done.problems) == (1, [])
    after = oracle.sessions(storage.root)["s1"]
    assert in_our_layout(after.path) or not after.history
    assert after.path == path.with_suffix(f".{OTHER[path.suffix]}")
    assert sorted(exactly(after.header)) == sorted(exactly(before.header))
    assert exactly(after.history) == exactly(before.history)
    undo(storage.root)
    assert path.read_bytes() == FOREIGN[name]
    assert oracle.document_paths(storage.root) == [path]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("s1.json", FOREIGN["crlf.json"].replace(b'"kind": "agent"', b'"kind": "agent", "a": 1, "a": 2'), None),
        ("s1.yaml", FOREIGN["crlf.yaml"].replace(b"kind", b"own: {a: 1, a: 2}\r\nkind"), 3),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"123456789012345678901234567890"), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"NaN"), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"-Infinity"), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"1e999"), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"3.14159265358979323846"), None),
        ("s1.yaml", FOREIGN["bom.yaml"].replace(b"1.0", b"3.14159265358979323846"), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b'"\\ud800"'), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b'{"\\ud800": 1}'), None),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b'"\xff"'), 1),
        ("s1.json", FOREIGN["crlf.json"].replace(b"r1", b"\xff"), 4),
        ("s1.json", FOREIGN["bom.json"].replace(b"1.0", b"[" * 300 + b"]" * 300), None),
        ("s1.yaml", FOREIGN["bom.yaml"].replace(b"1.0", b".nan"), None),
        ("s1.yaml", FOREIGN["bom.yaml"].replace(b"1.0", b'"\\ud800"'), None),
        ("s1.yaml", FOREIGN["bom.yaml"].replace(b"1.0", b"\xff"), None),
        ("s1.yaml", FOREIGN["bom.yaml"].replace(b"1.0", b"&a [1], d: *a"), None),
        ("s1.json", b"{", None),
        ("s1.yaml", b"a: b: c", 1),
    ],
)
def test_a_lossy_conversion_is_refused(tmp_path: Path, name: str, content: bytes, line: int | None) -> None:
    """The document stays and is named; the others are converted."""
    storage = JsonStorage(tmp_path / "store")
    to = OTHER[name[2:]]
    (YamlStorage if name.endswith("yaml") else JsonStorage)(storage.root).append("s2", answered("r1"))
    path = in_month(storage, name, content)
    done = convert(storage, to)
    (problem,) = done.problems
    assert (done.documents, problem.path) == (1, str(path))
    assert line is None or problem.line == line
    assert path.read_bytes() == content
    assert len(oracle.document_paths(storage.root)) == 2


def test_old_and_newer_documents_are_named(storage: Storage) -> None:
    """A conversion upgrades nothing."""
    suffix = f".{own_format(storage)}"
    left = [
        in_month(storage, f"old{suffix}", agno_bytes(old_session("old"), suffix)),
        in_month(storage, f"newer{suffix}", newer_bytes("newer")),
    ]
    before = [path.read_bytes() for path in left]
    done = convert(storage, other_format(storage))
    assert (done.documents, done.backup) == (0, None)
    assert [problem.path for problem in done.problems] == sorted(map(str, left))
    assert "schema version 0" in str(done.problems)
    assert [path.read_bytes() for path in left] == before


@pytest.mark.parametrize("name", ["s1.sync-conflict", "a"])
def test_two_documents_of_a_session_do_not_replace_each_other(storage: Storage, name: str) -> None:
    """Regression: the second document of the session, a conflict copy, replaced the new document of the first one. The
    runs that only the first one had were no longer in the store, and the result named no problem.
    """
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    before = path.read_bytes()
    storage.append("s1", answered("only-here"))
    copy = path.with_name(f"{name}{path.suffix}")
    copy.write_bytes(before.replace(b"r1", b"only-there"))
    done = convert(storage, other_format(storage))
    assert done.documents == 1
    [problem] = done.problems
    assert "which has another content" in problem.problem
    reopened = type(storage)(storage.root)
    reopened.list_sessions()
    with pytest.warns(UserWarning, match="has a copy"):
        session = reopened.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "only-here"]
    reopened.merge_copies()
    session = reopened.read("s1")
    assert session is not None
    assert {run.run_id for run in session.runs} == {"r1", "only-here", "only-there"}


def test_a_document_in_the_other_format_with_the_same_name(storage: Storage) -> None:
    """With the same content they are one; with another, both stay and are named."""
    for name in ("same", "other"):
        storage.append(name, answered("r1"))
    raw = {name: storage.path(name).read_bytes() for name in ("same", "other")}
    to = other_format(storage)
    convert(storage, to)
    storage.append("other", answered("r2"))
    folder = storage.path("same").parent
    for name in ("same", "other"):
        (folder / f"{name}.{own_format(storage)}").write_bytes(
            raw[name] if name == "same" else raw[name].replace(b"good day", b"bad day")
        )
    before = documents_of(storage.root)
    done = convert(storage, to)
    assert (done.documents, [Path(problem.path).stem for problem in done.problems]) == (1, ["other"])
    assert len(oracle.document_paths(storage.root)) == 3
    undo(storage.root)
    assert documents_of(storage.root) == before


@ci_only
def test_several_processes_give_the_same_result(storage_class: StorageClass, tmp_path: Path) -> None:
    """They write the same documents as one process."""
    storage = storage_class(tmp_path / "store", durability="relaxed")
    for number in range(280):
        storage.append(f"s{number}", answered("r1"))
    done = convert(storage, other_format(storage), processes=2)
    assert (done.documents, done.problems) == (280, [])
    found = oracle.sessions(storage.root)
    assert len(found) == 280
    assert {one.path.suffix for one in found.values()} == {f".{other_format(storage)}"}
    assert [one.documents for one in backup_folder.listing(str(storage.root))] == [280]
    assert ids(storage.root) == set(found)


WRITER = """
import sys
from localstore import JsonStorage, Message, Run
storage = JsonStorage(sys.argv[1])
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    for name in sys.argv[3:]:
        storage.append(name, Run(run_id=f"p{number}", messages=[Message(role="user", content="x" * 300)]), create=False)
"""


def test_writers_lose_nothing_meanwhile(storage: Storage) -> None:
    """Threads, and another process, through conversions. A run that was added to the old document and one that was
    added to the new one left two documents of one session, and one of the runs in neither answer. A document that was
    read in the middle of a write was named as broken."""
    names = [f"s{number}" for number in range(12)]
    for name in names:
        storage.append(name, answered("r0"))
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(storage.root), "40", *names[6:]], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    done = threading.Event()
    failures: list[BaseException] = []
    written: list[int] = []

    def write(number: int) -> None:
        try:
            while not done.is_set() and number < 200:
                for name in names[:6]:
                    storage.append(name, answered(f"t{number}"), create=False)
                number += 2
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            written.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    problems = []
    for number in range(rounds(2, 6, 40)):
        problems += convert(storage, ("yaml", "json")[number % 2], lock_timeout=30).problems
    process.wait(120)
    done.set()
    for thread in threads:
        thread.join()
    process.stdout.close()
    assert (process.returncode, failures) == (0, [])
    assert problems == []
    found = oracle.sessions(storage.root)
    expected = {f"t{one}" for last in written for one in range(last % 2, last, 2)}
    for name in names[:6]:
        assert set(found[name].run_ids) - {"r0"} == expected
        assert len(found[name].run_ids) == len(expected) + 1
    for name in names[6:]:
        assert found[name].run_ids == ["r0", *(f"p{number}" for number in range(40))]
    assert ids(storage.root) == set(names)
