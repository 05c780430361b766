"""Puts hostile documents into a store, does with them whatever the library can do, and judges every answer.

What is right is said by parsers that are not ours: `json` of the standard library, and a YAML 1.2 parser.
"""

import base64
import json
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import click
import jsonschema
import yaml
import yaml12
from click.testing import CliRunner

from localstore import (
    DocumentBroken,
    JsonStorage,
    LocalstoreError,
    Message,
    Run,
    Session,
    SessionInfo,
    SessionNotFound,
    YamlStorage,
)
from tests.hostile.mutations import Corpus, Mutant, mutant

Result = TypeVar("Result")
Storage = JsonStorage | YamlStorage

LONGEST = 3.0
"""Seconds of processor time that any one call may take for one document, on the slowest machine."""
FOLDER = "sessions/2026-11"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_STATE = {"instructions", "session_state", "session_summary", "session_data"}
_HUGE = re.compile(r"(?<=[ \[])[0-9]{19,400}(?=[,\]}]|$)")
CLI: click.Group = import_module("localstore_cli.group").cli


class Wrong(AssertionError):
    """The library did what it must not do."""


class Slot(NamedTuple):
    """One hostile document in a store: `known` says that the manifest has a line of the good one."""

    session_id: str
    path: Path
    mutant: Mutant
    known: bool


class Batch:
    """Some hostile documents in one store."""

    def __init__(self, root: Path, rng: Random, corpora: list[Corpus], size: int, counts: Counter[str]) -> None:
        self.root = root
        self.rng = rng
        self.counts = counts
        self.slots: list[Slot] = []
        self.storage: Storage = rng.choice((JsonStorage, YamlStorage))(root)
        (root / FOLDER).mkdir()
        for number in range(size):
            corpus = rng.choice(corpora)
            session_id = f"doc-{number:02d}"
            hostile = mutant(rng, corpus, session_id.encode())
            path = root / FOLDER / f"{session_id}{corpus.suffix}"
            self.slots.append(Slot(session_id, path, hostile, rng.random() < 0.6))
        self.now = ""
        """What is being done, for whoever has to look into it."""
        self.failures: list[str] = []
        """What was wrong."""

    def run(self) -> None:
        """Do everything; what is wrong is in `failures`. Raises Wrong when it is wrong for the store as a whole."""
        self._place()
        before = self._state()
        self.rows = {info.path: info for info in self._call("list", None, lambda: self.storage.list_sessions())}
        self.unreadable = self.storage.unreadable_files()
        self._account_for_every_file()
        self.read: dict[str, Session | None] = {}
        for slot in self.slots:
            self.read[slot.session_id] = None
            self._judge(slot, lambda slot: self.read.update({slot.session_id: self._read(slot)}))
        self._judge(None, lambda _: self._list_and_check())
        for slot in self.slots:
            self._judge(slot, self._show)
        self._same(before, "reading")
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root).as_posix()
            own = (".localstore/locks/", ".localstore/index.sqlite")
            if path.is_file() and path not in before and not name.startswith(own):
                raise Wrong(f"reading made the file {name}")
        for slot in self.slots:
            self._judge(slot, self._write)
            self.counts["documents"] += 1
            self.counts[f"kind {slot.mutant.kind}"] += 1

    def _judge(self, slot: Slot | None, work: Callable[[Any], object]) -> None:
        try:
            work(slot)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what we look for)
            self.failures.append(self.report(error, slot))

    def report(self, error: Exception, slot: Slot | None) -> str:
        """What was done, and the document."""
        lines = [f"{self.now}: {error!r:.3000}"]
        if slot is not None:
            raw = repr(slot.mutant.raw)
            shown = raw if len(raw) < 6000 else f"{raw[:4000]} ... {raw[-1500:]}"
            lines += [f"{slot.path.name}, {slot.mutant.kind}, in the manifest: {slot.known}", shown]
        return "\n".join([*lines, *traceback.format_exception(error)[-3:]])

    # Placing

    def _place(self) -> None:
        for slot in self.slots:
            if slot.known:
                slot.path.write_bytes(slot.mutant.base)
        if any(slot.known for slot in self.slots):
            self.storage.list_sessions()
            time.sleep(0.012)  # the time of a file moves in steps, and nobody types that fast
        for slot in self.slots:
            if slot.known and self.rng.random() < 0.5:
                slot.path.write_bytes(slot.mutant.raw)
            else:
                other = slot.path.with_name(f".{slot.path.name}.swp")
                other.write_bytes(slot.mutant.raw)
                os.replace(other, slot.path)
        if self.rng.random() < 0.5:
            self.storage = type(self.storage)(self.root)

    def _state(self) -> dict[Path, tuple[bytes, int]]:
        """Every file but the manifest and the locks, with its bytes and its time."""
        found = {}
        for folder in (FOLDER, "schemas", ".", ".localstore"):
            for path in (self.root / folder).iterdir():
                if path.is_file() and not path.name.startswith(("manifest.", "index.sqlite")):
                    found[path] = (path.read_bytes(), path.stat().st_mtime_ns)
        found[self.root / ".localstore/manifest.jsonl"] = (b"", 0)
        return found

    def _same(self, before: dict[Path, tuple[bytes, int]], what: str) -> None:
        for path, (raw, moment) in before.items():
            if path.name != "manifest.jsonl" and (path.read_bytes() != raw or path.stat().st_mtime_ns != moment):
                raise Wrong(f"{what} changed {path}")

    # Calling

    def _call(self, what: str, slot: Slot | None, work: Callable[[], Result]) -> Result:
        self.now = f"{what} of {slot.session_id if slot else 'all'}"
        with self._in_time(what):
            return work()

    @contextmanager
    def _in_time(self, what: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        took = time.process_time() - begin
        if took > LONGEST * (1 if "of doc" in self.now else 10):
            raise Wrong(f"{what} took {took:.1f} s")

    def _tried(self, what: str, slot: Slot, work: Callable[[], Result]) -> Result | LocalstoreError:
        """The answer, or the error, which has to be a good one."""
        try:
            return self._call(what, slot, work)
        except LocalstoreError as error:
            text = str(error)
            if error.path is None and not isinstance(error, SessionNotFound):
                raise Wrong(f"{what} raised an error without a path: {error!r}") from error
            if len(text) > 2000 or not text.endswith((".", " --restore")):
                raise Wrong(f"{what} raised an error of odd form: {text[:300]}") from error
            return error

    # Reading

    def _account_for_every_file(self) -> None:
        """A file is a session, cannot be read, or has the id of another one: it is never passed over."""
        held = {info.session_id for info in self.rows.values()}
        for slot in self.slots:
            if slot.path not in self.rows and slot.path not in self.unreadable:
                document = _parse(slot.mutant.raw, slot.path)
                header = document if isinstance(document, dict) else {}
                if document is not None and header.get("session_id") not in held:
                    raise Wrong(f"{slot.path} is passed over")

    def _row(self, slot: Slot) -> SessionInfo | None:
        return self.rows.get(slot.path)

    def _read(self, slot: Slot) -> Session | None:
        """The session in this file when it was read, having judged the answer."""
        part = self._tried("read of the end", slot, lambda: self.storage.read(slot.session_id, last_runs=1))
        whole = self._tried("read", slot, lambda: self.storage.read(slot.session_id))
        row = self._row(slot)
        if whole is None:
            self.counts["none"] += 1
            if part is not None:
                raise Wrong("the end of a session can be read, and the session is missing")
            document = _parse(slot.mutant.raw, slot.path)
            if row is not None and row.session_id == slot.session_id:
                raise Wrong(f"a session is listed and missing: {row}")
            if (row is None or row.problem is not None) and isinstance(document, dict):
                if document.get("session_id") == slot.session_id:
                    raise Wrong("a document that cannot be read is taken for a missing one")
            elif slot.path in self.unreadable:
                raise Wrong("a document that cannot be read is taken for a missing one")
            return None
        if isinstance(whole, LocalstoreError):
            self.counts[f"error {type(whole).__name__}"] += 1
            self._must_be_an_error(slot, whole)
            # The end alone may still be fine: what is wrong stands in an older run, or in what the models know.
            if not isinstance(part, LocalstoreError) and part is None:
                raise Wrong(f"the whole is an error and the end is missing: {whole}")
            return None
        self.counts["answers"] += 1
        if whole.session_id != slot.session_id:
            raise Wrong(f"asked for {slot.session_id}, got {whole.session_id!r}")
        if isinstance(part, LocalstoreError) or part is None:
            raise Wrong(f"the whole can be read, its end cannot: {part!r}")
        if canonical(part._base.header) != canonical(whole._base.header):
            raise Wrong("the header differs with last_runs")
        if canonical(part._base.current) != canonical(whole._base.current):
            raise Wrong("the state differs with last_runs")
        entries = whole._base.entries
        if part._base.entries != entries[len(entries) - len(part._base.entries) :]:
            raise Wrong("the last run is not the end of the history")
        if [run.run_id for run in whole.runs] != [entry["run_id"] for entry in entries if entry["type"] == "run"]:
            raise Wrong("the models hold other runs than the document")
        path = Path(whole._base.path)
        if path == slot.path and self._is_in_two_files(whole.session_id):
            return whole  # an answer has the entries of both files
        if path == slot.path:
            self._equals_the_raw_file(slot, whole)
            return whole
        return None  # another document that was given this id

    def _is_in_two_files(self, session_id: str) -> bool:
        """Return whether the change of a document may have given it the id of another one."""
        name = session_id.encode()
        return sum(name in _raw(slot.path) for slot in self.slots) > 1

    def _must_be_an_error(self, slot: Slot, error: LocalstoreError) -> None:
        """A document that is valid by the published schema has to be read."""
        if not slot.mutant.well_formed or error.path != str(slot.path) or "appears twice" in error.message:
            return
        document = _parse(slot.mutant.raw, slot.path)
        if document is None or not _is_storable(document) or b"\\u" in slot.mutant.raw:
            return
        raw = slot.mutant.raw
        if b"!!float" in raw and error.message.partition(" Nothing was")[0].endswith("is no float."):
            return  # the other parser takes a text that is called a float for a text
        if slot.path.suffix == ".yaml" and (not raw.isascii() or b"%TAG" in raw or b"x" * 1000 in raw):
            return  # which characters may stand unescaped depends on the version of YAML; keys have a longest length
        for entry in document["history"] if isinstance(document.get("history"), list) else ():
            if isinstance(entry, dict) and entry.get("type") not in ("run", "update") and _STATE & entry.keys():
                return  # state holds whatever the entry's type, and has to be of the right type then
        if type(document.get("schema_version")) is int and _schema().is_valid(_without_null(document)):  # 1.0 is none
            raise Wrong(f"a valid document is refused: {error}")

    def _equals_the_raw_file(self, slot: Slot, session: Session) -> None:
        raw = slot.mutant.raw
        header, entries = session._base.header, session._base.entries
        document = _parse(raw, slot.path)
        for entry in entries:
            run_id = entry.get("run_id")
            if entry["type"] == "run" and run_id.isalnum() and run_id.isascii() and run_id.encode() not in raw:
                raise Wrong(f"run {run_id} is not in the file")
        if document is None:
            self.counts["answers without another parser's"] += 1
            if slot.path.suffix == ".json":  # of a torn document, the part that is whole
                if not slot.known and not _may_be_torn(raw, len(entries)):
                    raise Wrong("what is no JSON was read")
                for entry in entries:
                    if json.dumps(entry.get("created_at"), ensure_ascii=False).encode() not in raw:
                        raise Wrong("an entry is not in the file")
            return
        history = document.get("history") or []
        is_torn = (
            slot.path.suffix == ".yaml" and b"\n...\n" not in raw
        )  # what follows the last entry may parse all the same
        there = _header(document)
        if is_torn:
            there = {key: value for key, value in there.items() if key in header}
        is_cut_off = slot.path.suffix == ".yaml" and not raw.endswith(b"\n")
        if is_cut_off and not history and list(header) == list(there):
            self.counts["answers without another parser's"] += 1
            return  # the parsers differ on the last line of a text that is cut off
        if canonical(header) != canonical(there):
            raise Wrong(f"the header is {canonical(header)[:500]} and the file says {canonical(document)[:500]}")
        if canonical(entries) == canonical(history) or (slot.path.suffix == ".yaml" and _says_it_twice(raw)):
            return
        if is_cut_off:
            self.counts["answers without another parser's"] += 1
            return
        if is_torn:
            before = history[:-1]
            if canonical(entries[: len(before)]) == canonical(before) and len(entries) <= len(history):
                return  # its last entry may be torn
        raise Wrong(f"the history is {canonical(entries)[:800]} and the file says {canonical(history)[:800]}")

    # The command line

    def _list_and_check(self) -> None:
        as_json = self.rng.random() < 0.5
        listed = self._run_command(None, ["ls", *(["--json"] if as_json else [])], (0,))
        if as_json and len(json.loads(listed)) != len(self.rows):
            raise Wrong("ls and list_sessions differ")
        if not as_json and listed.count("\n") != len(self.rows):
            raise Wrong(f"ls prints {listed.count(chr(10))} lines for {len(self.rows)} sessions")
        self._run_command(None, ["check", *(["--json"] if as_json else [])], (0, 1))

    def _show(self, slot: Slot) -> None:
        how = self.rng.choice(([], ["--json"], ["--last", "1"]))
        read = self.read[slot.session_id]
        name = slot.session_id.encode()
        if any(name in other.mutant.raw for other in self.slots if other is not slot):
            read = None  # which of the two another process takes is open
        shown = self._run_command(slot, ["show", slot.session_id, *how], (0,) if read else (0, 3, 4))
        if read and how == ["--json"] and json.loads(shown)["session_id"] != slot.session_id:
            raise Wrong("show shows another session")

    def _run_command(self, slot: Slot | None, words: list[str], codes: tuple[int, ...]) -> str:
        done = self._call(" ".join(words), slot, lambda: CliRunner().invoke(CLI, [*words, "--store", str(self.root)]))
        if done.exit_code not in codes or (done.exception and not isinstance(done.exception, SystemExit)):
            raise Wrong(f"{words} ended with {done.exit_code}: {done.stderr[-600:]} {done.exception!r}")
        for text in (done.stdout, done.stderr):
            if found := _CONTROL.search(text):
                raise Wrong(f"{words} printed {found[0]!r}: {text[max(0, found.start() - 60) :][:120]!r}")
            if "Traceback" in text or "A bug in" in text:
                raise Wrong(f"{words} printed {text}")
        return str(done.stdout)

    # Writing

    def _write(self, slot: Slot) -> None:
        before = {other.path: _raw(other.path) for other in self.slots}
        rescued = self._rescued()
        run = Run(run_id=f"new-{slot.session_id}", messages=[Message(role="user", content="one more")])
        done = self._tried("append", slot, lambda: self.storage.append(slot.session_id, run))
        changed = [path for path, raw in before.items() if _raw(path) != raw]
        new = [record for name, record in self._rescued().items() if name not in rescued]
        if isinstance(done, LocalstoreError):
            self.counts[f"append {type(done).__name__}"] += 1
            if changed:
                raise Wrong(f"append raised {done} and changed {changed}")
            if self.read[slot.session_id] is not None and not isinstance(done, DocumentBroken):
                raise Wrong(f"what can be read cannot be appended to: {done}")
            if isinstance(done, DocumentBroken):
                kept = [record for record in new if record.get("entry", {}).get("run_id") == run.run_id]
                if done.rescued is None or len(kept) != 1:
                    raise Wrong(f"the run was not kept: {done}")
            return
        self.counts["append done"] += 1
        united = [path for path in changed if not path.exists()]
        for path in united:
            self._is_in_the_trash(path, before[path], slot.session_id)
        changed = [path for path in changed if path not in united]
        if len(changed) > 1:
            raise Wrong(f"append changed {changed}")
        path = Path(self.storage.path(slot.session_id))
        if changed and changed != [path]:
            raise Wrong(f"append changed {changed} and the session is in {path}")
        try:
            after = _document(path)
        except ValueError:
            if _parse(before.get(path, b""), path) is not None or not _has_events(path.read_bytes()):
                raise
            after = {"": None}
        if not _is_plain(after) or not after.get("session_id"):
            self.counts["appended to what another parser refuses"] += 1
            return
        if after["session_id"] != slot.session_id or after["history"][-1]["run_id"] != run.run_id:
            raise Wrong(f"the run is not in {path}")
        if path == slot.path:
            self._kept_everything(slot, before[path], after, new)
            if self.rng.random() < 0.3:
                self._rename(slot, after)
        elif path in before and slot.session_id not in path.name and _parse(before[path], path) is None:
            raise Wrong(f"append went to {path}, which holds something else")

    def _is_in_the_trash(self, path: Path, raw: bytes, session_id: str) -> None:
        """A write unites the documents of a session and moves all but one to the trash, as they were."""
        if session_id.encode() not in raw:
            raise Wrong(f"append moved {path}, which is another session")
        trash = self.root / ".localstore" / "trash"
        if not any(file.is_file() and file.read_bytes() == raw for file in trash.rglob("*")):
            raise Wrong(f"append removed {path}")

    def _rename(self, slot: Slot, document: dict[str, Any]) -> None:
        """Change the header, which writes the whole document anew."""
        raw = slot.path.read_bytes()
        done = self._tried("update", slot, lambda: self.storage.update(slot.session_id, name="renamed"))
        if isinstance(done, LocalstoreError):
            if slot.path.read_bytes() != raw:
                raise Wrong(f"update raised {done} and changed the document")
            return
        now = _document(slot.path)
        if canonical(_header(now)) != canonical(_header({**document, "name": "renamed"})):
            raise Wrong("a new name changed more than the name")
        if canonical(now["history"]) != canonical(document["history"]):
            raise Wrong("a new name changed the history")

    def _kept_everything(self, slot: Slot, raw: bytes, after: dict[str, Any], rescued: list[dict[str, Any]]) -> None:
        """Every entry that could be read is still there, and whatever went out of the document was set aside."""
        document = None if slot.path.suffix == ".yaml" and _says_it_twice(raw) else _parse(raw, slot.path)
        session = self.read[slot.session_id]
        if session is not None:
            header, entries = session._base.header, session._base.entries
        elif (
            document is not None
        ):  # a field has a wrong type that only the models look at: such an entry stays as it is
            header, entries = _header(document), document["history"]
        elif slot.path.read_bytes().startswith(raw.removesuffix(b"\n  ]\n}\n").removesuffix(b"...\n")):
            return  # nothing that was there was touched
        elif slot.path.suffix == ".yaml" and _has_events(raw):
            return  # it was read whole, and written anew
        else:
            raise Wrong("what could not be read was written to")
        if canonical(entries) != canonical(after["history"][:-1]):
            raise Wrong(f"the history was {canonical(entries)[:800]}\n and is {canonical(after['history'])[:800]}")
        if canonical(header) != canonical(_header(after)):
            raise Wrong(f"the header was {canonical(header)[:500]} and is {canonical(_header(after))[:500]}")
        text = b"".join(
            (record.get("text", "").encode() or base64.b64decode(record.get("base64", ""))) for record in rescued
        )
        own = [] if document is None else document.get("history") or []
        if document is not None and canonical(own) == canonical(entries):
            if slot.path.suffix == ".yaml":
                now = slot.path.read_bytes()
                for comment in re.findall(rb"(?m)^ *# .*$", raw) if text != raw else ():
                    if comment.strip() not in now and b"yaml-language-server" not in comment:
                        raise Wrong(f"a comment was lost: {comment!r}")
            return
        if slot.path.suffix == ".yaml" and _has_events(raw):
            return  # it was read whole, and another parser is stricter
        self.counts["salvaged"] += 1
        now = slot.path.read_bytes()
        for line in re.split(rb"[\n\0]", raw):
            if line.strip() not in b"...,]}" and line not in now and line.removeprefix(b"    }") not in text:
                raise Wrong(f"a line was lost: {line[:200]!r}")

    def _rescued(self) -> dict[str, dict[str, Any]]:
        try:
            names = os.listdir(self.root / ".localstore" / "rescue")
        except FileNotFoundError:
            return {}
        return {name: json.loads((self.root / ".localstore" / "rescue" / name).read_bytes()) for name in names}


def _raw(path: Path) -> bytes:
    """The bytes of a file, none if it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


# Other parsers


def _integer(text: str) -> int | float:
    """Readers may round what is beyond 64 bits; localstore refuses to write it anew."""
    value = int(text) if len(text) < 400 else float("inf")
    return value if -(2**63) <= value < 2**64 else float(text)


def _may_be_torn(raw: bytes, entries: int) -> bool:
    """Whether a power cut may have left JSON of which nothing is known, and of which so many entries are read: there
    are zeros or there is no end; else one write alone may be damaged, the last one."""
    return b"\0" in raw or not raw.endswith(b"\n  ]\n}\n") or raw.count(b"\n    {\n") <= entries + 1


def _parse(raw: bytes, path: Path) -> Any:
    """What the document says; None when another parser takes it for no document, or would not survive it."""
    try:
        if path.suffix == ".json":
            value = json.loads(raw.decode("utf-8-sig"), parse_int=_integer)
        else:
            if b"*" in raw or b"\0" in raw or max(map(raw.count, (b"[", b"{", b"- ", b"? "))) > 200:
                return None  # aliases and deep nesting, which that parser may not survive; it stops at NUL
            text = raw.decode("utf-8-sig")
            if "\ufeff" in text or _CONTROL.search(text.replace("\r", "")):
                return None  # no YAML, or not in one of its versions
            (value,) = yaml12.parse_yaml(text, multi=True)
    except (ValueError, RecursionError, OverflowError):
        return None
    try:
        return value if isinstance(value, dict) and _is_plain(value) and "Infinity" not in canonical(value) else None
    except RecursionError:
        return None


def _says_it_twice(raw: bytes) -> bool:
    """Whether a key appears twice in a mapping: what that means is up to the parser."""
    try:
        waiting = [yaml.compose(raw, yaml.CSafeLoader)]
    except (yaml.YAMLError, UnicodeError, RecursionError):
        return False
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                return True
            waiting += [child for _, child in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return False


def _has_events(raw: bytes) -> bool:
    """Whether a lax parser reads the whole."""
    try:
        for _ in yaml.parse(raw, yaml.CSafeLoader):
            pass
    except (yaml.YAMLError, UnicodeError):
        return False
    return True


def _document(path: Path) -> dict[str, Any]:
    """A document that the library wrote."""
    if path.suffix == ".json":
        value = json.loads(path.read_bytes(), parse_int=_integer)
    else:
        (value,) = yaml12.parse_yaml(path.read_text("utf-8"), multi=True)
    assert isinstance(value, dict), path
    return value


def _header(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("$schema", "history")}


def _without_null(value: Any) -> Any:
    """Readers take null for absent."""
    if isinstance(value, dict):
        kept = ("type", "created_at", "run_id")  # which are always there
        return {key: _without_null(child) for key, child in value.items() if child is not None or key in kept}
    return [_without_null(child) for child in value] if isinstance(value, list) else value


def _is_plain(value: Any) -> bool:
    """Whether a parser's value is made of JSON's types, with keys that are text."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(child) for key, child in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _is_storable(value: Any, depth: int = 195) -> bool:
    """Whether every reader takes the value: nothing infinite, no lone surrogates, not too deep."""
    if isinstance(value, dict):
        return depth > 0 and all(_is_storable(k) and _is_storable(child, depth - 1) for k, child in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_storable(child, depth - 1) for child in value)
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return not isinstance(value, str) or value == value.encode(errors="ignore").decode()


def canonical(value: Any) -> str:
    """The value as text that tells 1, 1.0 and True apart, whatever the order of keys."""
    return _HUGE.sub(_rounded, json.dumps(value, sort_keys=True))


def _rounded(match: re.Match[str]) -> str:
    """The other YAML parser takes integers from 2**63 on for floats."""
    return repr(float(match[0])) if int(match[0]) >= 2**63 else match[0]


@cache
def _schema() -> Any:
    text = (Path(__file__).parents[2] / "localstore" / "models" / "session-1.schema.json").read_bytes()
    return jsonschema.Draft202012Validator(json.loads(text))
