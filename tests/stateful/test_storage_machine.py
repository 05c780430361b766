"""Two storages of each format, two handles on each, driven in lockstep with a model; people edit the same files."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from localstore import JsonStorage, LocalstoreError, Message, Run, Session, YamlStorage
from localstore.format.values import to_json_value
from tests import oracle
from tests.effort import LEVEL
from tests.spreading import top_folder
from tests.stateful import by_hand
from tests.stateful.model import Draft, Kept, Plain, Refused, upsert

FORMATS: dict[str, type[JsonStorage] | type[YamlStorage]] = {".json": JsonStorage, ".yaml": YamlStorage}
Storage = JsonStorage | YamlStorage

# Hostile input

_ANY = st.characters(exclude_categories=["Cs"])
_NASTY = st.sampled_from(
    [
        "no", "y", "1e3", "0o7", "089", "12:30", "~", "2026-11-22", "...", "---", "- a", "# no", "a: b", "'", '"', "\\",
        "\0", "\x07\x1b[31m", "\x7f", "\x85", "\u2028\u2029", "\ufeff", "\ufffe", "👩\u200d👧", "e\u0301",
        "\r", "\r\n", "\n", "\n\n x\n\n", "  lead", "trail  ", "\tx", "a\n  b\n", "a\n    {\n",
        "\n    }\n  ]\n}\n", "x\n...\n", "\n- type: run\n", "history:", "{}", "[", "]", "null", "true",
        "0x1F", "1_000", "1e400",
        "-", "?", ":", "!tag", "&a", "*a", "%TAG", "|", ">", "<<", "=",
    ]
)  # fmt: skip
TEXTS = _NASTY | st.text(_ANY, max_size=12) | st.lists(_NASTY, max_size=3).map("".join)
IDS = st.sampled_from(
    ["s1", "../x", "CON", "a/b", "\0", "x" * 10_000, "ünï", "A", "a", "a.", "..", " ", "no", "1e3", "\u2028", "a\nb"]
) | st.text(_ANY, min_size=1, max_size=30)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
STATES = st.dictionaries(TEXTS, VALUES, max_size=3)
NAMES = ["a name of the machine", "other name, same size"]
WHICH = st.integers(0, 2)
HAND = st.integers(0, 1)
USERS = st.sampled_from([None, None, None, "alice", "bob"])
KINDS = st.sampled_from([None, None, "agent", "team", "workflow"])


class StorageMachine(RuleBasedStateMachine):
    """`kept` is the model; a session whose file somebody broke is in `broken`, with the bytes that mend it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=top_folder())).resolve()
        self.roots = {suffix: self.folder / suffix[1:] for suffix in FORMATS}
        self.handles = {suffix: [self._open(suffix, hand) for hand in (0, 1)] for suffix in FORMATS}
        self.kept: dict[str, Kept] = {}
        self.broken: dict[str, dict[str, bytes]] = {}
        self.edited: dict[Path, bytes] = {}
        self.draft: Draft | None = None
        self.sessions: dict[str, Session] = {}
        self.old_manifests: dict[str, bytes] = {}
        self.count = 0
        self.doubtful: set[int] = set()
        self.stride = 1
        self.steps = 0
        self.ids: list[str] = []

    def _open(self, suffix: str, hand: int) -> Storage:
        return FORMATS[suffix](self.roots[suffix], durability="full" if hand else "relaxed", lock_timeout=5)

    def teardown(self) -> None:
        try:
            if self.ids:
                self._look()
                for root in self.roots.values():
                    oracle.assert_sound(root)
        finally:
            shutil.rmtree(self.folder)

    @initialize(ids=st.lists(IDS, min_size=3, max_size=3, unique=True), stride=st.sampled_from([1, 4]))
    def name_sessions(self, ids: list[str], stride: int) -> None:
        self.ids, self.stride = ids, stride

    # How an operation is tried

    def attempt(self, refused: str | None, call: Callable[[str], object]) -> dict[str, Any]:
        """Do it in each format; every format must answer alike, and as the model says."""
        answers: dict[str, Any] = {}
        for suffix in FORMATS:
            try:
                answers[suffix] = call(suffix)
                error = None
            except LocalstoreError as caught:
                error = caught
            got = None if error is None else type(error).__name__
            assert got == refused, f"{suffix}: expected {refused}, got {got}: {error}"
        return answers

    def change(self, session_id: str, model: Callable[[], object], call: Callable[[str], object]) -> bool:
        """An operation that writes: True when it was to succeed, and did."""
        refused = "DocumentBroken" if session_id in self.broken else None
        before = copy.deepcopy(self.kept)
        if refused is None:
            try:
                model()
            except Refused as error:
                refused, self.kept = error.name, before
        self.attempt(refused, call)
        return refused is None

    def new_run(self, text: str, state: Plain | None, status: str) -> Plain:
        self.count += 1
        number = self.count
        moment = f"2026-{10 + number % 2}-22T07:{number // 60 % 60:02d}:{number % 60:02d}.{number % 1000:03d}Z"
        run: Plain = {"type": "run", "run_id": f"r{number}", "created_at": moment}
        run["messages"] = [{"role": "user", "content": f"tok{number:05d} {text}"}]
        if state is not None:
            run["session_state"] = state
        return {**run, "status": status}

    # Writing

    @rule(
        which=WHICH,
        hand=HAND,
        text=TEXTS,
        state=st.none() | STATES,
        status=st.sampled_from(["completed", "completed", "unfinished", "error"]),
        user=USERS,
        kind=KINDS,
        create=st.sampled_from([True, True, True, False]),
    )
    def append(
        self, which: int, hand: int, text: str, state: Plain | None, status: str, user: str | None,
        kind: str | None, create: bool,
    ) -> None:  # fmt: skip
        run = self.new_run(text, state, status)
        self._append(self.ids[which], hand, run, user, kind, create)

    def _append(self, session_id: str, hand: int, run: Plain, user: str | None, kind: str | None, create: bool) -> None:
        entity = "geographer" if user else None

        def model() -> None:
            kept = self.kept.get(session_id)
            if kept is None:
                if not create:
                    raise Refused("SessionNotFound")
                header = {
                    "schema_version": 1,
                    "session_id": session_id,
                    "kind": kind or "agent",
                    f"{kind or 'agent'}_id": entity,
                    "user_id": user,
                    "created_at": run["created_at"],
                }
                kept = Kept({name: value for name, value in header.items() if value is not None})
                self.kept[session_id] = kept
            kept.check(user, kind)
            kept.append(run)

        self.change(
            session_id,
            model,
            lambda suffix: self.handles[suffix][hand].append(
                session_id,
                Run.model_validate(copy.deepcopy(run)),
                user_id=user,
                entity_id=entity,
                kind=kind,
                create=create,
            ),
        )

    @precondition(lambda self: any(kept.runs for kept in self.kept.values()))
    @rule(data=st.data(), hand=HAND, text=TEXTS, plainly=st.booleans(), state=st.none() | STATES)
    def repeat_or_finish(self, data: st.DataObject, hand: int, text: str, plainly: bool, state: Plain | None) -> None:
        """Send a run again: one that is unfinished is finished, as an agent does it or with other words."""
        session_id = data.draw(st.sampled_from([one for one in self.ids if one in self.kept and self.kept[one].runs]))
        runs = self.kept[session_id].runs
        unfinished = [run for run in runs if run["status"] == "unfinished"]
        run = copy.deepcopy(data.draw(st.sampled_from(unfinished or runs)))
        run.pop("session_state", None)
        status = data.draw(st.sampled_from(["completed", "unfinished", "error"]))
        answer = [{"role": "assistant", "content": text}]
        run["messages"] = [*run["messages"], *answer] if plainly else answer
        run.pop("status")
        if state is not None:
            run["session_state"] = state
        self._append(session_id, hand, {**run, "status": status}, None, None, create=False)

    @rule(
        which=WHICH,
        hand=HAND,
        user=USERS,
        state=st.fixed_dictionaries(
            {},
            optional={
                "session_state": STATES,
                "session_summary": TEXTS,
                "session_data": STATES,
                "instructions": TEXTS,
            },
        ),
        header=st.fixed_dictionaries(
            {},
            optional={
                "name": st.none() | TEXTS | st.sampled_from(NAMES),
                "tags": st.none() | st.lists(TEXTS, max_size=3),
                "metadata": st.none() | STATES,
            },
        ),
    )
    def update(self, which: int, hand: int, user: str | None, state: Plain, header: Plain) -> None:
        session_id = self.ids[which]
        order = {name: state[name] for name in oracle.STATEFUL if name in state}

        def model() -> None:
            kept = self.kept.get(session_id)
            if kept is None:
                raise Refused("SessionNotFound")
            kept.check(user, None)
            kept.update(order, header)

        arguments: dict[str, Any] = copy.deepcopy(state | header)
        self.change(
            session_id,
            model,
            lambda suffix: self.handles[suffix][hand].update(session_id, user_id=user, **arguments),
        )

    @rule(which=WHICH, hand=HAND, user=USERS)
    def delete(self, which: int, hand: int, user: str | None) -> None:
        session_id = self.ids[which]
        if session_id in self.broken:
            return
        kept = self.kept.get(session_id)
        allowed = kept is None or user in (None, kept.owner)
        answers = self.attempt(
            None if allowed else "OwnerMismatch",
            lambda suffix: self.handles[suffix][hand].delete_session(session_id, user_id=user),
        )
        if allowed:
            assert set(answers.values()) == {kept is not None}
            self.kept.pop(session_id, None)

    @precondition(lambda self: len(self.kept) == 3 and not self.broken)
    @rule(hand=HAND)
    def drop(self, hand: int) -> None:
        self.attempt(None, lambda suffix: self.handles[suffix][hand].drop())
        self.kept.clear()

    # A session in somebody's hands

    @rule(which=WHICH, hand=HAND, last_runs=st.sampled_from([None, None, 0, 1, 2]))
    def take(self, which: int, hand: int, last_runs: int | None) -> None:
        session_id = self.ids[which]
        kept = self.kept.get(session_id)
        if kept is None or session_id in self.broken:
            return
        answers = self.attempt(None, lambda suffix: self.handles[suffix][hand].read(session_id, last_runs=last_runs))
        self.sessions, self.draft = answers, Draft.read(session_id, kept, last_runs)

    @precondition(lambda self: self.draft is not None)
    @rule(name=st.none() | TEXTS, tags=st.lists(TEXTS, max_size=2))
    def change_taken_header(self, name: str | None, tags: list[str]) -> None:
        assert self.draft is not None
        for key, value in (("name", name), ("tags", tags)):
            self.draft.header.pop(key, None)
            if value or (key == "name" and value is not None):
                self.draft.header[key] = value
        for session in self.sessions.values():
            session.name, session.tags = name, list(tags)

    @precondition(lambda self: self.draft is not None)
    @rule(state=STATES, instructions=st.none() | TEXTS)
    def change_taken_state(self, state: Plain, instructions: str | None) -> None:
        assert self.draft is not None
        for key, value in (("session_state", state), ("instructions", instructions)):
            self.draft.current.pop(key, None)
            if value:
                self.draft.current[key] = copy.deepcopy(value)
        for session in self.sessions.values():
            session.session_state, session.instructions = copy.deepcopy(state), instructions

    @precondition(lambda self: self.draft is not None)
    @rule(data=st.data(), text=TEXTS, status=st.sampled_from(["completed", "unfinished"]))
    def add_taken_run(self, data: st.DataObject, text: str, status: str) -> None:
        """A new run, or one with the id of a run that the session may have had all the time."""
        assert self.draft is not None
        run = self.new_run(text, None, status)
        kept = self.kept.get(self.draft.session_id)
        others = [one["run_id"] for one in kept.runs if one["run_id"] not in self.draft.runs()] if kept else []
        run["run_id"] = data.draw(st.sampled_from([run["run_id"], run["run_id"], *others]))
        self.draft.history.append(run)
        for session in self.sessions.values():
            session.history.append(Run.model_validate(copy.deepcopy(run)))

    @precondition(lambda self: self.draft is not None and self.draft.runs())
    @rule(data=st.data(), text=TEXTS, remove=st.booleans())
    def change_taken_run(self, data: st.DataObject, text: str, remove: bool) -> None:
        assert self.draft is not None
        run_id = data.draw(st.sampled_from(sorted(self.draft.runs())))
        for session in self.sessions.values():
            run = next(run for run in session.runs if run.run_id == run_id)
            if remove:
                session.history = [entry for entry in session.history if entry is not run]
            else:
                run.messages = [Message(role="user", content=text)]
        mine = self.draft.runs()[run_id]
        if remove:
            self.draft.history.remove(mine)
        else:
            mine["messages"] = [{"role": "user", "content": text}]

    @precondition(lambda self: self.draft is not None)
    @rule(hand=HAND)
    def upsert(self, hand: int) -> None:
        draft = self.draft
        assert draft is not None

        def model() -> None:
            self.kept[draft.session_id] = upsert(self.kept.get(draft.session_id), draft)

        if self.change(
            draft.session_id, model, lambda suffix: self.handles[suffix][hand].upsert(self.sessions[suffix])
        ):
            draft.stored()

    @rule(which=WHICH, hand=HAND, last_runs=st.sampled_from([None, 0, 1]), data=st.data())
    def race(self, which: int, hand: int, last_runs: int | None, data: st.DataObject) -> None:
        """Two programs change one session in turn; one of them read it once, at the beginning."""
        states = st.sampled_from([{}, {"a": 1}, {"b": 2}])
        names = st.sampled_from(NAMES)
        self.take(which, hand, last_runs)
        for _ in range(4):
            if self.draft is None or self.draft.session_id != self.ids[which]:
                return
            match data.draw(st.sampled_from(["nothing", "nothing", "state", "name", "run"])):
                case "state":
                    self.update(which, 1 - hand, None, {"session_state": data.draw(states)}, {})
                case "name":
                    self.update(which, 1 - hand, None, {}, {"name": data.draw(names)})
                case "run":
                    self.append(which, 1 - hand, "theirs", None, "completed", None, None, create=False)
            match data.draw(st.sampled_from(["state", "name", "run"])):
                case "state":
                    self.change_taken_state(data.draw(states), self.draft.current.get("instructions"))
                case "name":
                    self.change_taken_header(data.draw(names), [])
                case "run":
                    self.add_taken_run(data, "mine", "completed")
            self.upsert(hand)

    @rule(which=WHICH, hand=HAND, text=TEXTS, state=STATES, name=TEXTS, kind=KINDS)
    def upsert_new(self, which: int, hand: int, text: str, state: Plain, name: str, kind: str | None) -> None:
        session_id = self.ids[which]
        if session_id in self.kept:
            return
        run = self.new_run(text, None, "completed")
        header: Plain = {"schema_version": 1, "session_id": session_id, "kind": kind or "agent"}
        header |= {"name": name, "created_at": run["created_at"]}
        self.draft = Draft(session_id, header, [run], {"session_state": state} if state else {})
        self.sessions = {
            suffix: Session.model_validate(copy.deepcopy({**header, "history": [run], "session_state": state}))
            for suffix in FORMATS
        }
        self.upsert(hand)

    # Reading

    @rule(which=WHICH, hand=HAND, last_runs=st.integers(0, 4), user=USERS)
    def read_some(self, which: int, hand: int, last_runs: int, user: str | None) -> None:
        session_id = self.ids[which]
        kept = self.kept.get(session_id)
        answers = self.attempt(
            "DocumentBroken" if session_id in self.broken else None,
            lambda suffix: self.handles[suffix][hand].read(session_id, last_runs=last_runs, user_id=user),
        )
        for session in answers.values():
            if kept is None or user not in (None, kept.owner):
                assert session is None
            else:
                _assert_says(session, kept, kept.tail(last_runs))

    @rule(
        hand=HAND,
        user=USERS,
        entity=st.sampled_from([None, "geographer", "nobody"]),
        kind=KINDS,
        limit=st.integers(0, 4),
    )
    def list_some(self, hand: int, user: str | None, entity: str | None, kind: str | None, limit: int) -> None:
        """With a limit only as many rows are held against their files: whose file was changed behind the manifest's
        back is ranked anew when a listing comes to it."""
        unlimited = bool(self.broken) or hand in self.doubtful
        for suffix in FORMATS:
            self._assert_lists(suffix, hand, user, entity, kind, None if unlimited else limit)

    # By hand

    def _paths(self, which: int) -> dict[str, Path] | None:
        """The files of a session that is there and whole."""
        session_id = self.ids[which]
        if session_id not in self.kept or session_id in self.broken:
            return None
        return {suffix: by_hand.locate(root, session_id) for suffix, root in self.roots.items()}

    def _save(self, path: Path, raw: bytes, rename: bool) -> None:
        if rename:
            by_hand.write_by_rename(path, raw)
        else:
            by_hand.write_in_place(path, raw)
        self.edited[path] = raw
        self.doubtful |= {0, 1}

    @rule(data=st.data(), which=WHICH, rename=st.booleans())
    def edit_text(self, data: st.DataObject, which: int, rename: bool) -> None:
        paths = self._paths(which)
        if not paths:
            return
        texts = [m for run in self.kept[self.ids[which]].runs for m in run["messages"] if _token(m["content"])]
        if not texts:
            return
        message = data.draw(st.sampled_from(texts))
        old = _token(message["content"])
        new = ("ink" if old[:3] == "tok" else "tok") + old[3:]
        message["content"] = message["content"].replace(old, new, 1)
        for path in paths.values():
            raw = path.read_bytes()
            assert raw.count(old.encode()) == 1
            self._save(path, raw.replace(old.encode(), new.encode()), rename)

    @rule(which=WHICH, rename=st.booleans())
    def edit_name(self, which: int, rename: bool) -> None:
        """The file keeps its size: only its times tell."""
        paths = self._paths(which)
        kept = self.kept.get(self.ids[which])
        old = kept.header.get("name") if kept else None
        if not paths or kept is None or old not in NAMES:
            return
        kept.header["name"] = new = NAMES[1 - NAMES.index(old)]
        for path in paths.values():
            raw = path.read_bytes()
            assert raw.count(old.encode()) == 1
            self._save(path, raw.replace(old.encode(), new.encode()), rename)

    @rule(which=WHICH, style=st.integers(0, 20), rename=st.booleans())
    def restyle(self, which: int, style: int, rename: bool) -> None:
        for suffix, path in (self._paths(which) or {}).items():
            self._save(path, by_hand.restyle(path.read_bytes(), suffix, style), rename)

    @rule(which=WHICH, header=st.booleans(), rename=st.booleans())
    def break_file(self, which: int, header: bool, rename: bool) -> None:
        paths = self._paths(which)
        if not paths:
            return
        session_id = self.ids[which]
        self.broken[session_id] = {}
        header = header or not self.kept[session_id].history
        for suffix, path in paths.items():
            raw = path.read_bytes()
            self.broken[session_id][suffix] = raw
            self._save(path, by_hand.damage_header(raw) if header else by_hand.damage_entry(raw), rename)

    @precondition(lambda self: self.broken)
    @rule(data=st.data(), rename=st.booleans())
    def mend_file(self, data: st.DataObject, rename: bool) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.broken)))
        for suffix, raw in self.broken.pop(session_id).items():
            (path,) = [
                path
                for path in oracle.document_paths(self.roots[suffix])
                if path.read_bytes() in (by_hand.damage_header(raw), _damaged_entry(raw))
            ]
            self._save(path, raw, rename)

    @rule(which=WHICH)
    def remove_file(self, which: int) -> None:
        paths = self._paths(which)
        if paths:
            del self.kept[self.ids[which]]
            for path in paths.values():
                path.unlink()

    @rule(which=WHICH, month=st.sampled_from(["2020-02", "2026-10", "2026-11"]))
    def move_file(self, which: int, month: str) -> None:
        for path in (self._paths(which) or {}).values():
            target = path.parent.parent / month / path.name
            if target != path:
                by_hand.move(path, target)
                if path in self.edited:
                    self.edited[target] = self.edited.pop(path)

    @rule(which=WHICH, place=WHICH)
    def copy_file(self, which: int, place: int) -> None:
        """A copy that gets another id; the first one of `ids` whose place is free."""
        paths = self._paths(which)
        name = f"copy-{place}"
        if not paths or name in self.kept or name in self.ids or self.ids[place] in self.kept:
            return
        self.ids[place] = name
        self.kept[name] = copy.deepcopy(self.kept[self.ids[which]])
        self.kept[name].header["session_id"] = name
        for suffix, path in paths.items():
            raw = by_hand.rename_session(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), suffix, name)
            copied = path.with_name(name + suffix)
            copied.write_bytes(raw)
            copied.chmod(0o600)
            self.edited[copied] = raw

    @rule(how=st.sampled_from(["remove", "truncate", "garbage", "torn", "older", "remember"]), part=st.floats(0, 1))
    def damage_manifest(self, how: str, part: float) -> None:
        self.doubtful |= {0, 1}
        for suffix, root in self.roots.items():
            path = root / ".localstore/manifest.jsonl"
            if not path.exists():
                continue
            raw = path.read_bytes()
            if how == "remove":
                path.unlink()
            elif how == "truncate":
                os.truncate(path, int(len(raw) * part))
            elif how == "garbage":
                path.write_bytes(raw + b'garbage\n{"session_id": 7}\n[]\n\xff\0\n')
            elif how == "torn":
                path.write_bytes(raw + b'{"session_id": "x", "pa')
            elif how == "remember":
                self.old_manifests[suffix] = raw
            elif suffix in self.old_manifests:
                by_hand.write_by_rename(path, self.old_manifests[suffix])

    @rule(hand=HAND)
    def restart(self, hand: int) -> None:
        for suffix, handles in self.handles.items():
            handles[hand] = self._open(suffix, hand)

    # What always holds

    @invariant()
    def answers_and_files_agree_with_the_model(self) -> None:
        self.steps += 1
        for root in self.roots.values():
            self._assert_files(root)
        if self.ids and self.steps % self.stride == 0:
            self._look()

    def _look(self) -> None:
        for suffix in FORMATS:
            for hand in (0, 1):
                self.doubtful.discard(hand)
                self._assert_lists(suffix, hand, None, None, None, None)
                for session_id in self.ids:
                    if session_id in self.broken:
                        continue
                    session = self.handles[suffix][hand].read(session_id)
                    kept = self.kept.get(session_id)
                    if kept is None:
                        assert session is None
                    else:
                        assert session is not None
                        _assert_says(session, kept, kept.history)

    def _assert_lists(
        self, suffix: str, hand: int, user: str | None, entity: str | None, kind: str | None, limit: int | None
    ) -> None:
        infos = self.handles[suffix][hand].list_sessions(user, entity, kind, limit)
        whole = {one: kept for one, kept in self.kept.items() if one not in self.broken}
        files = {}
        for path in oracle.document_paths(self.roots[suffix]):
            with contextlib.suppress(ValueError):
                document = oracle.parse(path)
                files[document.header["session_id"]] = document
        fitting = [
            one
            for one, kept in whole.items()
            if user in (None, kept.owner) and entity in (None, kept.entity) and kind in (None, kept.kind)
        ]
        expected = sorted(fitting, key=lambda one: (files[one].updated_at, one), reverse=True)[:limit]
        assert [info.session_id for info in infos if info.session_id not in self.broken] == expected
        for info in infos:
            if info.session_id in self.broken:
                assert info.problem
                continue
            kept, file = self.kept[info.session_id], files[info.session_id]
            assert (info.kind, info.entity_id, info.user_id) == (kept.kind, kept.entity, kept.owner)
            assert (info.name, list(info.tags)) == (kept.header.get("name"), kept.header.get("tags", []))
            assert (info.runs, info.path) == (len(kept.runs), file.path)
            if suffix == ".json" or b"\n..." in file.raw:  # YAML without end marker may be a write in progress
                assert info.size == len(file.raw)
            assert info.problem is None

    def _assert_files(self, root: Path) -> None:
        """The raw files say what the model says; those that we wrote last look as we write."""
        seen = set()
        for path in oracle.document_paths(root):
            edited = self.edited.get(path) == path.read_bytes()
            try:
                document = oracle.parse(path)
            except ValueError:
                assert edited, f"{path} was broken by us"
                continue
            session_id = document.header["session_id"]
            if session_id in self.broken and edited:
                continue
            kept = self.kept[session_id]
            assert session_id not in seen, "two documents for one session"
            seen.add(session_id)
            assert _without_removal_times(document.header) == kept.header
            assert _without_times(document.history) == kept.history
            if not edited:
                oracle.assert_own_layout(document)
        assert seen == self.kept.keys() - self.broken.keys()


def _token(text: str) -> str:
    found = re.match(r"(?:tok|ink)[0-9]{5}(?= )", text)
    return found[0] if found else ""


def _damaged_entry(raw: bytes) -> bytes | None:
    try:
        return by_hand.damage_entry(raw)
    except ValueError:
        return None


def _without_times(history: list[Plain]) -> list[Plain]:
    return [entry | {"created_at": None} if entry["type"] == "update" else entry for entry in history]


def _without_removal_times(header: Plain) -> Plain:
    return header | {"removed": dict.fromkeys(header["removed"])} if "removed" in header else header


def _assert_says(session: Session, kept: Kept, history: list[Plain]) -> None:
    assert _without_removal_times(to_json_value(session)) == kept.header
    assert _without_times(to_json_value(session.history)) == history
    assert session.current() == kept.current()


TestStorage = StorageMachine.TestCase
TestStorage.settings = settings.get_profile(f"stateful at level {LEVEL}")
