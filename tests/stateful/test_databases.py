"""A storage in a database and one in files get the same calls at random, and must give the same answers."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from localstore import Filter, Item, JsonStorage, LocalstoreError, Session, SessionStorage, Step
from localstore.databases.sql import SqliteStorage
from tests.contract.runs import answered, asked, document
from tests.effort import LEVEL
from tests.spreading import top_folder

SESSIONS = st.sampled_from(["s1", "s2", "s\0", "x" * 600])
RUNS = st.sampled_from([f"r{number}" for number in range(6)])
USERS = st.sampled_from([None, None, "alice", "bob"])
WORDS = st.sampled_from(["zebra", "train to Linz", "Café 東京", "a\0b", "?"])
STATES = st.none() | st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=2)
TAGS = st.lists(st.sampled_from(["x", "y", "archived"]), max_size=2)


class LockstepMachine(RuleBasedStateMachine):
    """Both storages get each call with the same times and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-", dir=top_folder()))
        self.files = JsonStorage(self.folder / "files", durability="relaxed")
        self.database = SqliteStorage(db_file=self.folder / "sessions.db")
        self.both: list[SessionStorage] = [self.files, self.database]
        self.kept: dict[str, list[Session]] = {}
        self.minute = 0

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self.time()

    def time(self) -> str:
        self.minute += 1
        return f"2026-11-22T{self.minute // 60 % 24:02d}:{self.minute % 60:02d}:00.000Z"

    def do(self, call: Callable[[SessionStorage], object]) -> list[Any]:
        """Make a call on both sides, and return the results. Both must end alike."""
        answers: list[Any] = []
        errors: list[str] = []
        for storage in self.both:
            try:
                answers.append(call(storage))
                errors.append("")
            except (LocalstoreError, LookupError, FileNotFoundError) as error:
                errors.append(type(error).__name__)
        assert errors[0] == errors[1], f"files: {errors[0]}, database: {errors[1]}"
        return answers

    @rule(
        session_id=SESSIONS, run_id=RUNS, word=WORDS, user=USERS, state=STATES, done=st.booleans(), base=st.booleans()
    )
    def append(
        self, session_id: str, run_id: str, word: str, user: str | None, state: Any, done: bool, base: bool
    ) -> None:
        run = (answered if done else asked)(run_id, word, created_at=self.time())
        run.session_state = state
        run.model = "large" if done else None
        self.do(
            lambda storage: storage.append(
                session_id, copy.deepcopy(run), user_id=user, state_base={"a": 1} if base else None
            )
        )

    @rule(session_id=SESSIONS, run_ids=st.lists(RUNS, max_size=3, unique=True), word=WORDS)
    def append_many(self, session_id: str, run_ids: list[str], word: str) -> None:
        runs = [answered(run_id, word, created_at=self.time()) for run_id in run_ids]
        self.do(lambda storage: storage.append_many(session_id, copy.deepcopy(runs)))

    @rule(session_id=SESSIONS, run_id=RUNS, number=st.integers(0, 2), name=st.sampled_from(["draft", "check"]))
    def add_step(self, session_id: str, run_id: str, number: int, name: str) -> None:
        step = Step(name=name, created_at=self.time())
        self.do(lambda storage: storage.add_step(session_id, run_id, step, number=number))

    @rule(session_id=SESSIONS, user=USERS, name=st.none() | WORDS, tags=TAGS, added=TAGS)
    def update_header(self, session_id: str, user: str | None, name: str | None, tags: Any, added: Any) -> None:
        self.do(lambda storage: storage.update(session_id, user_id=user, name=name, tags=tags, add_tags=added))

    @rule(session_id=SESSIONS, run_id=RUNS, rating=st.sampled_from(["good", "bad", None]))
    def rate(self, session_id: str, run_id: str, rating: Any) -> None:
        self.do(lambda storage: storage.rate(session_id, run_id, rating))

    @rule(session_id=SESSIONS, last=st.none() | st.integers(0, 3))
    def read(self, session_id: str, last: int | None) -> None:
        found = self.do(lambda storage: storage.read(session_id, last_runs=last))
        if None in found:
            assert found == [None, None]
            return
        self.kept[session_id] = found
        one, other = (session.model_dump() for session in found)
        assert _plain(one) == _plain(other)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), run_id=RUNS, removes=st.booleans(), name=WORDS, state=STATES)
    def upsert(self, data: st.DataObject, run_id: str, removes: bool, name: str, state: Any) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.kept)))
        moment = self.time()
        for session in self.kept[session_id]:
            session.name = name
            if removes and session.history:
                del session.history[-1]
            if run_id not in [run.run_id for run in session.runs]:
                session.history.append(answered(run_id, created_at=moment))
            if state is not None:
                session.session_state = state
        sides = iter(self.kept[session_id])
        self.do(lambda storage: storage.upsert(next(sides)))

    @rule(session_id=SESSIONS, run_id=st.none() | RUNS)
    def undo(self, session_id: str, run_id: str | None) -> None:
        found = self.do(lambda storage: storage.undo(session_id, run_id))
        assert len({None if one is None else one.run.run_id for one in found}) <= 1

    @rule(session_id=SESSIONS, run_id=st.none() | RUNS, new_id=SESSIONS)
    def fork(self, session_id: str, run_id: str | None, new_id: str) -> None:
        self.do(lambda storage: storage.fork(session_id, run_id, new_id=new_id))

    @rule(session_id=SESSIONS, user=USERS)
    def delete(self, session_id: str, user: str | None) -> None:
        found = self.do(lambda storage: storage.delete_session(session_id, user_id=user))
        assert len(set(found)) <= 1

    @rule(session_id=SESSIONS)
    def throw_away_and_restore(self, session_id: str) -> None:
        removals = self.do(lambda storage: storage.trash(session_id))
        names = iter([[one.name for one in removal.moved] for removal in removals])
        self.do(lambda storage: [storage.restore(name) for name in next(names)])

    @rule(session_id=SESSIONS, values=st.lists(st.integers(0, 9), min_size=1, max_size=3))
    def append_items(self, session_id: str, values: list[int]) -> None:
        items = [Item({"value": value}, item_id=f"i{value}", created_at=self.time()) for value in dict.fromkeys(values)]
        self.do(lambda storage: bool(storage.append_items(session_id, items)))

    @rule(session_id=SESSIONS, parent=SESSIONS, user=USERS)
    def append_to_a_sub_session(self, session_id: str, parent: str, user: str | None) -> None:
        if parent != session_id:
            item = Item({"value": 0}, item_id="i0", created_at=self.time())
            self.do(lambda storage: bool(storage.append_items(session_id, [item], user_id=user, part_of=parent)))

    @rule(session_id=SESSIONS, user=USERS)
    def sub_sessions(self, session_id: str, user: str | None) -> None:
        found = self.do(
            lambda storage: sorted(info.session_id for info in storage.sub_sessions(session_id, user_id=user))
        )
        assert found[0] == found[1]

    @rule(session_id=SESSIONS)
    def pop_item(self, session_id: str) -> None:
        found = self.do(lambda storage: storage.pop_item(session_id))
        assert found == [] or found[0] == found[1]

    @rule(session_id=SESSIONS, value=st.integers(0, 9))
    def replace_items(self, session_id: str, value: int) -> None:
        items = [Item({"value": value}, item_id=f"i{value}", created_at=self.time())]
        self.do(lambda storage: bool(storage.replace_items(session_id, items)))

    @rule(word=WORDS, literal=st.booleans(), user=USERS)
    def search(self, word: str, literal: bool, user: str | None) -> None:
        found = self.do(lambda storage: storage.search(word, literal=literal, user_id=user, limit=None))
        one, other = (sorted(_hit(hit) for hit in hits) for hits in found)
        assert one == other

    @rule(user=USERS, tag=st.none() | st.sampled_from(["x", "archived"]), status=st.sampled_from([None, "unfinished"]))
    def list_and_count(self, user: str | None, tag: str | None, status: Any) -> None:
        where = Filter(user=user, tag=tag, status=status)
        listed = self.do(lambda storage: [_info(info) for info in storage.list_sessions(where=where)])
        assert sorted(listed[0], key=repr) == sorted(listed[1], key=repr)
        counts = self.do(lambda storage: storage.count(where))
        assert counts == [len(listed[0])] * 2
        for by in (("month",), ("user", "model"), ("day",)):
            stats = self.do(lambda storage, by=by: storage.stats(where, by=by).as_dict())  # type: ignore[misc]
            assert stats[0] == stats[1]

    @invariant()
    def both_hold_the_same(self) -> None:
        ids = self.do(lambda storage: sorted(storage))
        assert ids[0] == ids[1]
        for session_id in ids[0]:
            one, other = (document(storage, session_id) for storage in self.both)
            assert _settled(one) == _settled(other), session_id


def _plain(session: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in session.items() if name not in ("history", "removed", "created_at")}


def _settled(value: Any) -> Any:
    """Return a document without the times that the storages set themselves: of updates, forks and removals."""
    if isinstance(value, list):
        return [_settled(one) for one in value if not (isinstance(one, tuple) and one[0] == "created_at")]
    if isinstance(value, tuple) and value[0] == "removed":
        return value[0], [name for name, _ in value[1]]
    return (value[0], _settled(value[1])) if isinstance(value, tuple) else value


def _hit(hit: Any) -> tuple[Any, ...]:
    return hit.session_id, hit.entry is not None, hit.entry or 0, hit.field, hit.snippet, hit.places, hit.title


def _info(info: Any) -> dict[str, Any]:
    own = ("path", "size", "updated_at", "created_at")
    return {name: value for name, value in info.as_dict().items() if name not in own}


TestLockstep = LockstepMachine.TestCase
TestLockstep.settings = settings(
    max_examples={"default": 4, "ci": 30, "long": 1500}[LEVEL], stateful_step_count=20, deadline=None
)
