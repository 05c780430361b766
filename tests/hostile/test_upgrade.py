"""Every kind of file that an upgrade may meet, as a flat file of a folder of agno and among the documents of a store:
it is upgraded, or named and left as it is, and stops nothing else."""

import errno
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localstore import DocumentBroken, JsonStorage, LocalstoreError, NewerFormat, OlderFormat, YamlStorage
from localstore.disk import filesystem
from localstore.maintenance.upgrade import Change, Problem, convert, make_plan, preview, undo, unified_diff, upgrade
from tests.effort import ci_only, rounds, sampled
from tests.hostile.test_tree import as_another_user, open_the_way
from tests.unit.maintenance.upgrade.old_folders import agno_bytes, folder_of_agno, in_month
from tests.unit.storage.test_storage_upgrade import old_session

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and users of POSIX")

NAME = "odd"
Make = Callable[[str], bytes]


def old(suffix: str, **changed: Any) -> bytes:
    return agno_bytes({**old_session(NAME), **changed}, suffix)


def as_json_or_yaml(text: str) -> Make:
    return lambda suffix: text.encode()


def cut(share: float) -> Make:
    return lambda suffix: (raw := old(suffix))[: int(len(raw) * share)]


def nested(depth: int) -> Make:
    deep = "[" * depth + "]" * depth
    return lambda suffix: old(suffix, agent_data={"name": "MARK"}).replace(
        b'"MARK"' if suffix == ".json" else b"MARK", deep.encode()
    )


def bomb(suffix: str) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = yaml.dump(old_session(NAME), default_flow_style=False)
    return old(suffix) if suffix == ".json" else (text + "extra_data:\n  " + "\n  ".join(lines) + "\n").encode()


def wrong(key: str, value: Any) -> Make:
    return lambda suffix: old(suffix, **{key: value})


def wrong_run(key: str, value: Any) -> Make:
    def make(suffix: str) -> bytes:
        session = old_session(NAME)
        session["memory"]["runs"][0][key] = value
        return agno_bytes(session, suffix)

    return make


def huge(suffix: str) -> bytes:
    size = rounds(2, 20, 200) << 20
    session = old_session(NAME, 1)
    session["memory"]["runs"][0]["messages"][0]["content"] = "x" * size
    return agno_bytes(session, suffix) if suffix == ".json" else old(suffix, extra_data={"big": "x" * (size // 4)})


MAIN_FIELDS = (
    "user_id", "agent_id", "memory", "session_data", "extra_data", "agent_data", "created_at", "updated_at",
)  # fmt: skip
WRONG: tuple[Any, ...] = (5, "text", [1], {"a": [None]}, True)
WRONG_RUNS: tuple[Any, ...] = (5, "text", [1], [None], [[]], {"a": 1}, [{"messages": 5}], [{"messages": [1]}], [{}])
KINDS: dict[str, Make] = {
    "sound": old,
    "empty": as_json_or_yaml(""),
    "a newline": as_json_or_yaml("\n"),
    "cut at a tenth": cut(0.1),
    "cut in the middle": cut(0.5),
    "cut near the end": cut(0.97),
    "the last byte gone": lambda suffix: old(suffix)[:-1],
    "two documents": lambda suffix: old(suffix) + (b"\n" if suffix == ".json" else b"---\n") + old(suffix),
    "an alias bomb": bomb,
    "nesting of 150": nested(150),
    "nesting of 10,000": nested(10_000),
    "a key twice": lambda suffix: old(suffix) + b'user_id: "b"\n'
    if suffix == ".yaml"
    else old(suffix).replace(b'"user_id"', b'"user_id": "b", "user_id"'),
    "JSON of somebody else": as_json_or_yaml('{"name": "left-pad", "version": "1.0.0"}'),
    "a list": as_json_or_yaml("[1, 2]"),
    "a number": as_json_or_yaml("1"),
    "a text": as_json_or_yaml('"session_id"'),
    "null": as_json_or_yaml("null"),
    "invalid UTF-8": lambda suffix: old(suffix).replace(b"question 0", b"question \xff"),
    "NUL": lambda suffix: old(suffix).replace(b"question 0", b"question \0"),
    "only NUL": lambda suffix: bytes(4096),
    "UTF-16": lambda suffix: old(suffix).decode().encode("utf-16"),
    "a byte order mark": lambda suffix: b"\xef\xbb\xbf" + old(suffix),
    "CRLF": lambda suffix: old(suffix).replace(b"\n", b"\r\n"),
    "NaN": wrong("extra_data", {"a": float("nan")}),
    "infinity": wrong("extra_data", {"a": float("inf")}),
    "1e999": lambda suffix: old(suffix).replace(b"1795331440", b"1e999"),
    "a large integer": wrong("extra_data", {"a": 2**70}),
    "a lone surrogate": lambda suffix: old(suffix, user_id="MARK").replace(
        b'"MARK"' if suffix == ".json" else b"MARK", b'"\\ud800"'
    ),
    "a newer version": lambda suffix: old(suffix, schema_version=7, history=[]),
    "a negative version": lambda suffix: old(suffix, schema_version=-1),
    "a version that is a text": lambda suffix: old(suffix, schema_version="1"),
    "an empty id": wrong("session_id", ""),
    "huge": huge,
    **{
        f"{key} is {value!r}": wrong(key, value)
        for key in MAIN_FIELDS
        for value in WRONG
    },
    **{
        f"memory.runs is {value!r}": wrong("memory", {"runs": value})
        for value in WRONG_RUNS
    },
    **{
        f"{key} of a run is {value!r}": wrong_run(key, value)
        for key in ("run_id", "status", "created_at", "messages", "content", "metrics", "tools")
        for value in (WRONG[0], WRONG[2], WRONG[3])
    },
    **{
        f"session_data.{key} is {value!r}": wrong("session_data", {key: value})
        for key in ("session_state", "session_name")
        for value in WRONG[:3]
    },
}  # fmt: skip
LEFT_ALONE = {
    "empty", "a newline", "cut at a tenth", "cut in the middle", "nesting of 10,000", "JSON of somebody else", "a list",
    "a number", "a text", "null", "invalid UTF-8", "only NUL", "a newer version", "a negative version", "two documents",
    "NUL", "NaN", "infinity", "an empty id", "a large integer", "a lone surrogate", "memory is 5", "UTF-16", "1e999",
}  # fmt: skip
"""These cannot be anything else."""


@pytest.fixture
def tmp_path(private_folder: Path) -> Path:
    return private_folder


def folder_with(tmp_path: Path, where: str, suffix: str, content: bytes | None) -> tuple[Path, Path]:
    """A folder of agno, or a store with old documents, with two sound sessions and the odd file."""
    root = tmp_path / "f"
    if where == "flat":
        folder_of_agno(root, ["a", "z"], suffix)
        path = root / f"{NAME}{suffix}"
        if content is not None:
            path.write_bytes(content)
        return root, path
    storage = JsonStorage(root)
    for name in ("a", "z"):
        in_month(storage, f"{name}{suffix}", agno_bytes(old_session(name), suffix))
    path = in_month(storage, f"{NAME}{suffix}", content or b"")
    if content is None:
        path.unlink()
    return root, path


def judge(root: Path, path: Path, found: list[Problem], before: bytes | None) -> bool:
    """Whether the odd file was upgraded; else it is named, once, and as it was."""
    mine = [one for one in found if one.path == str(path)]
    assert [one for one in found if one not in mine] == []
    for one in mine:
        assert one.problem
        assert "\n" not in str(one)
        assert len(str(one)) < 1500
    if mine:
        assert len(mine) == 1
        assert before is None or path.read_bytes() == before
    return not mine


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("where", ["flat", "in a month"])
@pytest.mark.parametrize("kind", sampled(KINDS, 6, 2))
def test_every_kind_of_content(tmp_path: Path, kind: str, where: str, suffix: str) -> None:
    """Dry run, diff, list, read, conversion, upgrade and the way back."""
    before = KINDS[kind](suffix)
    root, path = folder_with(tmp_path, where, suffix, before)

    # Looking
    plan = make_plan(root)
    looked = list(plan.problems)
    for change in preview(plan):
        if isinstance(change, Change):
            assert sum(map(len, unified_diff(change)))
        else:
            looked.append(change)
    would = judge(root, path, looked, before)
    if where == "flat":
        with pytest.raises(OlderFormat):
            JsonStorage(root)
    else:
        storage = JsonStorage(root)
        ids = {info.session_id for info in storage.list_sessions()}
        assert {"a", "z"} <= ids
        try:
            session = storage.read(NAME)
            assert session is None or session.session_id
        except (DocumentBroken, NewerFormat):
            pass
        problems = convert(root, "yaml" if suffix == ".json" else "json").problems
        assert {problem.path for problem in problems} >= {str(path.with_name(f"{name}{suffix}")) for name in "az"}
    assert path.read_bytes() == before

    # Upgrading
    done = upgrade(root)
    is_upgraded = judge(root, path, done.problems, before)
    assert is_upgraded == would
    assert done.documents == 2 + is_upgraded
    assert not (is_upgraded and kind in LEFT_ALONE and not (suffix == ".yaml" and kind in YAML_MAY))
    assert kind != "sound" or is_upgraded
    storage = JsonStorage(root)
    for name in ("a", "z"):
        session = storage.read(name)
        assert session is not None
        assert len(session.runs) in (1, 2)
    if is_upgraded:
        assert upgrade(root).problems == []
        assert storage.read(NAME) is not None
    undone = undo(root)
    assert (undone.restored, undone.problems) == (done.documents, [])
    assert path.read_bytes() == before


YAML_MAY = {"cut in the middle", "cut at a tenth", "cut near the end", "a newline"}
"""Cut behind a line, YAML is often valid: nobody can tell that there was more."""


@pytest.mark.parametrize(
    "kind", ["sound", "cut in the middle", "a key twice", "memory is 5", "nesting of 10,000", "a list"]
)
@pytest.mark.parametrize("where", ["flat", "in a month"])
@pytest.mark.parametrize("storage_class", [JsonStorage, YamlStorage])
def test_opening_with_auto_upgrade(tmp_path: Path, storage_class: type[JsonStorage], where: str, kind: str) -> None:
    """What cannot be upgraded is a warning, or an error of the call that is about it."""
    before = KINDS[kind](".json")
    root, path = folder_with(tmp_path, where, ".json", before)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        storage = storage_class(root, auto_upgrade_schema=True)
    assert all(str(path) in str(one.message) for one in caught)
    assert storage.read("a") is not None
    storage.update("a", name="n")
    if kind == "sound":
        storage.update(NAME, name="n")
        return
    assert path.read_bytes() == before
    if where == "flat":
        assert len(caught) == 1
    else:
        with pytest.raises(LocalstoreError):
            storage.update(NAME, name="n")
        assert path.read_bytes() == before


def plant_link_inside(path: Path) -> None:
    path.symlink_to(path.with_name(f"a{path.suffix}"))


def plant_link_outside(path: Path) -> None:
    outside = path.parents[1] / "outside"
    outside.write_bytes(old(path.suffix))
    path.symlink_to(outside)


def plant_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "x.json").write_bytes(old(".json"))


PLANTS: dict[str, Callable[[Path], object]] = {
    "a link inside": plant_link_inside,
    "a link outside": plant_link_outside,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a full folder": plant_full_folder,
}


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("where", ["flat", "in a month"])
@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_no_file(tmp_path: Path, plant: str, where: str, suffix: str) -> None:
    """It is named (but for a folder beside flat files, which is somebody's), not followed, and stays."""
    root, path = folder_with(tmp_path, where, suffix, None)
    PLANTS[plant](path)
    seen = os.lstat(path)
    problems = make_plan(root).problems
    done = upgrade(root)
    assert done.documents == 2
    is_named = {problem.path for problem in done.problems} == {str(path)}
    assert is_named == (where != "flat" or "folder" not in plant)
    assert problems == done.problems
    assert os.lstat(path)[:6] == seen[:6]
    assert len(convert(root, "yaml" if suffix == ".json" else "json").problems) == (where != "flat")
    outside = path.parents[1] / "outside"
    assert not outside.exists() or outside.read_bytes() == old(suffix)
    undo(root)
    assert undo(root).problems == []
    assert os.lstat(path)[:6] == seen[:6]


def test_a_file_that_may_only_be_read_is_upgraded(tmp_path: Path) -> None:
    """Its folder decides; undo gives it its mode again."""
    root, path = folder_with(tmp_path, "flat", ".json", old(".json"))
    path.chmod(0o444)
    assert upgrade(root).documents == 3
    assert undo(root).restored == 3
    assert path.stat().st_mode & 0o777 == 0o444


AS_NOBODY = """
import os, sys, ctypes, encodings.utf_8_sig, warnings, logging, yaml, filelock, json
import localstore.maintenance.upgrade, localstore.storage.upsert, localstore.index.index_tables, random
import localstore.format.yaml_writer, localstore.format.yaml_reader
import localstore.models.session
import encodings.utf_8_sig, localstore.format.versions, shutil
from localstore import JsonStorage
from localstore.maintenance.upgrade import convert, make_plan, preview, undo, upgrade
from importlib import resources
resources.files("localstore.models").joinpath("session-1.schema.json").read_bytes()  # it loads modules at first use
os.setgid(65534); os.setuid(65534)
"""


def as_nobody(root: Path, code: str) -> Any:
    open_the_way(root)
    done = subprocess.run([sys.executable, "-c", AS_NOBODY + code, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SHOW = """
try:
    done = upgrade(sys.argv[1], lock_timeout=1)
    print(json.dumps([done.documents, [str(p) for p in done.problems]]))
except (OSError, ) as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


@ci_only
@as_another_user
@pytest.mark.parametrize("where", ["flat", "in a month"])
def test_a_folder_that_may_only_be_read_is_looked_at_and_stays(tmp_path: Path, where: str) -> None:
    """The plan can be made; the upgrade says which file may not be written."""
    root, _ = folder_with(tmp_path, where, ".json", old(".json"))
    make_plan(root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code = (
        "plan = make_plan(sys.argv[1]); print(json.dumps([len(plan.paths), len(list(preview(plan))), plan.problems]))"
    )
    assert as_nobody(root, code) == [3, 3, []]
    kind, message = as_nobody(root, SHOW)
    assert kind == "PermissionError"
    assert str(root) in message
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@as_another_user
@pytest.mark.parametrize("where", ["flat", "in a month"])
def test_one_file_that_may_not_be_read_is_named(tmp_path: Path, where: str) -> None:
    """The others are upgraded."""
    root, path = folder_with(tmp_path, where, ".json", old(".json"))
    for one in (root, *root.rglob("*")):
        os.chown(one, 65534, 65534)
    os.chown(path, 0, 0)
    path.chmod(0o600)
    documents, problems = as_nobody(root, SHOW)
    assert documents == 2
    assert [problem for problem in problems if str(path) in problem and "ermission" in problem] == problems
    assert len(problems) == 1
    assert path.read_bytes() == old(".json")


@as_another_user
def test_files_of_somebody_else_in_a_folder_of_ours(tmp_path: Path) -> None:
    """Linux may forbid links to them (protected_hardlinks): then they are copied."""
    root, path = folder_with(tmp_path, "flat", ".json", old(".json"))
    os.chown(root, 65534, 65534)
    for one in root.iterdir():
        one.chmod(0o644)
    documents, problems = as_nobody(root, SHOW)
    assert (documents, problems) == (3, [])
    assert not path.exists()


@pytest.mark.parametrize("where", ["flat", "in a month"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, code: int) -> None:
    """Every write fails: an error or named problems, and every document as it was."""
    root, _ = folder_with(tmp_path, where, ".json", old(".json"))
    before = {path: path.read_bytes() for path in root.rglob(f"*{NAME}*.json")}

    def write(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(filesystem.System, "write", write)
        with pytest.raises(OSError, match=os.strerror(code)):
            upgrade(root)
    assert {path: path.read_bytes() for path in root.rglob(f"*{NAME}*.json")} == before
    assert upgrade(root).documents == 3
