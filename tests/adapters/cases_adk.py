"""What `LocalSessionService` does under a real release of the ADK, beside the ADK's own service in memory."""

import asyncio
import random
from pathlib import Path
from typing import Any

from google.adk.agents import BaseAgent
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, InMemorySessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from localstore import Item, JsonStorage
from localstore.errors import Conflict
from localstore.integrations.adk import LocalSessionService
from tests.case_databases import one_of_them, storages
from tests.effort import rounds

TRIP: dict[str, Any] = {"app_name": "travel", "user_id": "alice", "session_id": "trip"}


def said(text: str, author: str = "user", timestamp: float | None = None, **actions: Any) -> Event:
    times = {} if timestamp is None else {"timestamp": timestamp}
    parts = [types.Part(text=text)]
    content = types.Content(role="user" if author == "user" else "model", parts=parts)
    return Event(author=author, content=content, actions=EventActions(**actions), **times)


def texts(session: Session | None) -> list[str | None]:
    assert session is not None
    return [event.content.parts[0].text for event in session.events if event.content and event.content.parts]


async def refused(call: Any, error: str) -> None:
    """Await a call that must raise an error of this name."""
    try:
        await call
    except Exception as raised:
        if type(raised).__name__ != error:
            raise
    else:
        raise AssertionError(f"no {error}")


async def case_events_come_back_exactly(folder: Path) -> None:
    call = types.FunctionCall(id="c1", name="trains", args={"to": "Wien", "via": None})
    answer = types.FunctionResponse(id="c1", name="trains", response={"at": ["7:58"], "price": None})
    image = types.Blob(data=b"\x00\xff\n", mime_type="image/png")
    odd = Event(
        author="guide",
        invocation_id="i1",
        branch="a.b",
        content=types.Content(
            role="model",
            parts=[
                types.Part(function_call=call),
                types.Part(function_response=answer),
                types.Part(inline_data=image),
                types.Part(text="ü\u2028\x00", thought=True, thought_signature=b"\x01\x02"),
            ],
        ),
        actions=EventActions(state_delta={"none": None, "deep": {"a": [1, 2.5, None]}}, escalate=True),
        long_running_tool_ids={"c1"},
        error_code="E",
        turn_complete=True,
        custom_metadata={"k": None},
        usage_metadata=types.GenerateContentResponseUsageMetadata(total_token_count=3),
    )
    for storage in storages(folder):
        service = LocalSessionService(storage)
        session = await service.create_session(**TRIP)
        await service.append_event(session, odd)
        await service.append_event(session, said("bye"))
        found = await LocalSessionService(storage).get_session(**TRIP)
        assert found is not None
        assert found.events == session.events
        assert (found.id, found.app_name, found.user_id) == ("trip", "travel", "alice")
        assert found.last_update_time == session.last_update_time == session.events[-1].timestamp


async def case_a_session_is_created_once(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        await service.create_session(**{**TRIP, "session_id": " trip "})
        await refused(service.create_session(**TRIP), "AlreadyExistsError")
        one, other = [await service.create_session(app_name="travel", user_id="alice") for _ in range(2)]
        assert one.id != other.id
        assert await service.get_session(**{**TRIP, "session_id": "nowhere"}) is None
        assert await service.get_session(**{**TRIP, "user_id": "bob"}) is None
        bobs = await service.create_session(**{**TRIP, "user_id": "bob"})
        await service.append_event(bobs, said("bob's"))
        assert texts(await service.get_session(**TRIP)) == []
        done = await asyncio.gather(
            *(service.create_session(**{**TRIP, "session_id": "race"}) for _ in range(6)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in done) == ["AlreadyExistsError"] * 5 + ["Session"]


async def case_names_with_slashes_are_kept_apart(folder: Path) -> None:
    names = [
        ("a", "b", "c"),
        ("a/b", "", "c"),
        ("a", "b/c", "d"),
        ("a", "b", "c/d"),
        ("a%2Fb", "x", "c"),
        ("a", "", "b"),
    ]
    for storage in storages(folder):
        service = LocalSessionService(storage)
        for app, user, session_id in [name for name in names if name[1]]:
            state = {"me": session_id, "user:me": user, "app:me": app}
            await service.create_session(app_name=app, user_id=user, session_id=session_id, state=state)
        for app, user, session_id in [name for name in names if name[1]]:
            session = await service.get_session(app_name=app, user_id=user, session_id=session_id)
            assert session is not None
            assert session.state == {"me": session_id, "user:me": user, "app:me": app}
            listed = await service.list_sessions(app_name=app, user_id=user)
            assert session_id in [one.id for one in listed.sessions]


async def case_state_is_shared_by_its_prefix(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        start = {"city": "Linz", "app:currency": "EUR", "user:name": "Alice", "temp:now": 1}
        session = await service.create_session(**TRIP, state=start)
        shared = {"app:currency": "EUR", "user:name": "Alice"}
        assert session.state == {"city": "Linz", **shared}
        event = said("hi", state_delta={"city": None, "user:name": "Al", "app:vat": 20, "temp:seen": True})
        await service.append_event(session, event)
        assert session.state == {"city": None, **shared, "user:name": "Al", "app:vat": 20, "temp:seen": True}
        found = await service.get_session(**TRIP)
        assert found is not None
        assert found.state == {"city": None, "user:name": "Al", "app:currency": "EUR", "app:vat": 20}
        assert found.events[0].actions.state_delta == {"city": None, "user:name": "Al", "app:vat": 20}
        other = await service.create_session(app_name="travel", user_id="bob", session_id="trip")
        assert other.state == {"app:currency": "EUR", "app:vat": 20}
        assert (await service.create_session(app_name="other", user_id="alice")).state == {}
        assert await service.get_user_state(app_name="travel", user_id="alice") == {"name": "Al"}
        assert await service.get_user_state(app_name="travel", user_id="nobody") == {}
        await service.delete_session(**TRIP)
        assert await service.get_session(**TRIP) is None
        assert await service.get_user_state(app_name="travel", user_id="alice") == {"name": "Al"}
        await service.delete_session(**TRIP)
        await refused(service.append_event(session, said("gone")), "SessionNotFoundError")
        stored = storage.read("travel/bob/trip")
        assert stored is not None
        assert stored.session_state == {}


async def case_a_value_that_json_cannot_hold_becomes_text(folder: Path) -> None:
    service = LocalSessionService(JsonStorage(folder))
    session = await service.create_session(**TRIP, state={"bytes": b"x", "set": {1}, "odd": object})
    found = await service.get_session(**TRIP)
    assert found is not None
    assert found.state == session.state
    assert found.state["odd"] == "<class 'object'>"


async def case_a_session_whose_state_cannot_be_stored_is_not_created(folder: Path) -> None:
    """The session was there, without its shared state, and the next attempt raised AlreadyExistsError."""
    for storage in storages(folder):
        service = LocalSessionService(storage)
        for value in (float("nan"), 1 << 70, b"\xff"):
            for prefix in ("", "user:", "app:"):
                await refused(service.create_session(**TRIP, state={f"{prefix}x": value}), "UnstorableValue")
        assert len(storage) == 0
        session = await service.create_session(**TRIP, state={"temp:x": float("nan")})
        await refused(service.append_event(session, said("hi", state_delta={"x": b"\xff"})), "UnstorableValue")
        await service.append_event(session, said("hi"))
        storage.append_items("travel/alice/trip", [Item(5, "adk"), Item({"x": 1}, "other")])
        assert texts(await service.get_session(**TRIP)) == ["hi"]


async def case_partial_events_are_not_stored(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        session = await service.create_session(**TRIP)
        piece = said("Li", "guide", state_delta={"a": 1})
        piece.partial = True
        before = storage.revision("travel/alice/trip")
        assert await service.append_event(session, piece) is piece
        assert (session.events, session.state) == ([], {})
        assert storage.revision("travel/alice/trip") == before


async def case_a_stale_session_is_refused_by_its_revision_and_not_by_time(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        await service.create_session(**TRIP)
        one, two = [await service.get_session(**TRIP) for _ in range(2)]
        assert one is not None
        assert two is not None
        await service.append_event(one, said("first", timestamp=1.0))  # older than the session itself
        await refused(service.append_event(two, said("second")), "StaleSessionError")
        assert two.events == []
        await service.append_event(one, said("third", timestamp=0.5))
        storage.update("travel/alice/trip", name="Linz", session_state={"by": "a person"})
        await service.append_event(one, said("fourth", state_delta={"n": 4}))
        found = await service.get_session(**TRIP, config=GetSessionConfig(num_recent_events=0))
        assert found is not None
        assert found.state == {"by": "a person", "n": 4}
        await service.append_event(found, said("fifth"))
        by_hand = Session(id="trip", app_name="travel", user_id="alice")
        await refused(service.append_event(by_hand, said("sixth")), "StaleSessionError")
        whole = await service.get_session(**TRIP)
        assert texts(whole) == ["first", "third", "fourth", "fifth"]
        assert whole is not None
        by_hand.events.extend(whole.events)
        await service.append_event(by_hand, said("seventh"))


async def case_of_many_stale_sessions_one_succeeds(folder: Path) -> None:
    for storage in storages(folder):
        services = [LocalSessionService(storage) for _ in range(8)]
        await services[0].create_session(**TRIP)
        for turn in range(3):
            handles = [await service.get_session(**TRIP) for service in services]
            done = await asyncio.gather(
                *(
                    service.append_event(handle, said(f"{turn} {number}", state_delta={"user:n": number}))
                    for number, (service, handle) in enumerate(zip(services, handles, strict=True))
                    if handle is not None
                ),
                return_exceptions=True,
            )
            kinds = [type(one).__name__ for one in done]
            assert (kinds.count("Event"), kinds.count("StaleSessionError")) == (1, 7), kinds
        assert len(texts(await services[0].get_session(**TRIP))) == 3


async def case_tasks_that_share_a_session_all_succeed(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        session = await service.create_session(**TRIP)
        await asyncio.gather(
            *(service.append_event(session, said(str(n), state_delta={f"app:{n}": n, str(n): n})) for n in range(12))
        )
        found = await service.get_session(**TRIP)
        assert found is not None
        assert sorted(texts(found), key=str) == sorted(map(str, range(12)))
        assert found.state == {**{f"app:{n}": n for n in range(12)}, **{str(n): n for n in range(12)}}
        assert found.events == session.events


async def case_an_event_is_stored_once(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        session = await service.create_session(**TRIP)
        lost = await service.get_session(**TRIP)
        assert lost is not None
        event = said("hi", state_delta={"n": 1})
        await service.append_event(session, event)
        await service.append_event(session, event.model_copy(deep=True))
        assert len(session.events) == 1
        await service.append_event(lost, event)  # the answer to the first call got lost: it is repeated
        assert lost.events == session.events
        other = said("another")
        other.id = event.id
        try:
            await service.append_event(session, other)
        except Conflict:
            pass
        else:
            raise AssertionError
        assert texts(await service.get_session(**TRIP)) == ["hi"]


async def case_recent_events_are_chosen(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        session = await service.create_session(**TRIP)
        for number in range(100):
            await service.append_event(session, said(str(number), timestamp=1000.0 + number))
        for config, expected in (
            ({"num_recent_events": 3}, range(97, 100)),
            ({"num_recent_events": 0}, []),
            ({"num_recent_events": 500}, range(100)),
            ({"after_timestamp": 1090.0}, range(90, 100)),
            ({"after_timestamp": 1005.0}, range(5, 100)),
            ({"after_timestamp": 1090.0, "num_recent_events": 2}, range(98, 100)),
            ({"after_timestamp": 5000.0}, []),
            ({}, range(100)),
        ):
            found = await service.get_session(**TRIP, config=GetSessionConfig(**config))
            assert texts(found) == [str(number) for number in expected], config
            assert found is not None
            assert found.last_update_time == 1099.0


async def case_sessions_are_listed_oldest_first(folder: Path) -> None:
    for storage in storages(folder):
        service = LocalSessionService(storage)
        storage.append_items("travel", [], user_id="alice")
        for number, (user, session_id) in enumerate([("bob", "b"), ("alice", "z"), ("alice", "a"), ("bob", "a")]):
            state = {"n": number, "user:who": user, "app:x": 1}
            session = await service.create_session(app_name="travel", user_id=user, session_id=session_id, state=state)
            await service.append_event(session, said("hi", timestamp=100.0 - number))
        await service.create_session(app_name="other", user_id="alice", session_id="z")
        listed = (await service.list_sessions(app_name="travel")).sessions
        assert [(one.user_id, one.id) for one in listed] == [("bob", "a"), ("alice", "a"), ("alice", "z"), ("bob", "b")]
        assert listed[0].state == {"n": 3, "user:who": "bob", "app:x": 1}
        assert all(one.events == [] for one in listed)
        mine = (await service.list_sessions(app_name="travel", user_id="alice")).sessions
        assert [one.id for one in mine] == ["a", "z"]
        assert (await service.list_sessions(app_name="none")).sessions == []


async def case_random_calls_agree_with_the_service_in_memory(folder: Path) -> None:
    for seed in range(rounds(2, 6, 60)):
        storage = one_of_them(folder / str(seed), seed)
        chance = random.Random(seed)
        ours: BaseSessionService = LocalSessionService(storage)
        theirs: BaseSessionService = InMemorySessionService()
        for step in range(40):
            where: dict[str, Any] = {"app_name": chance.choice("ab"), "user_id": chance.choice("xy")}
            named = {**where, "session_id": chance.choice("st")}
            state = {f"{chance.choice(['', 'app:', 'user:', 'temp:'])}{chance.choice('kl')}": step}
            found = [await service.get_session(**named) for service in (ours, theirs)]
            match chance.choice(["create", "append", "append", "append", "delete", "list"]):
                case "create":
                    for service, session in zip((ours, theirs), found, strict=True):
                        if session is None:
                            await service.create_session(**named, state=state)
                        else:
                            await refused(service.create_session(**named), "AlreadyExistsError")
                case "append" if found[0] is not None:
                    event = said(str(step), state_delta=state, timestamp=float(step))
                    for service, session in zip((ours, theirs), found, strict=True):
                        assert session is not None
                        await service.append_event(session, event.model_copy(deep=True))
                case "delete":
                    for service in (ours, theirs):
                        await service.delete_session(**named)
                case _:
                    lists = [(await service.list_sessions(**where)).sessions for service in (ours, theirs)]
                    found = [{one.id: one.state for one in some} for some in lists]
                    assert found[0] == found[1], (seed, step)
            one, other = [await service.get_session(**named) for service in (ours, theirs)]
            assert (one is None) == (other is None), (seed, step)
            if one is not None and other is not None:
                assert (one.state, one.events) == (other.state, other.events), (seed, step)


class Echo(BaseAgent):  # type: ignore[misc] # the ADK may be absent
    """Repeats what it is asked, and counts in the state."""

    async def _run_async_impl(self, ctx: Any) -> Any:
        count = ctx.session.state.get("count", 0) + 1
        text = ctx.user_content.parts[0].text
        yield said(f"{text}? ({count})", self.name, state_delta={"count": count}).model_copy(
            update={"invocation_id": ctx.invocation_id}
        )


async def case_a_runner_goes_on_in_another_process(folder: Path) -> None:
    for storage in storages(folder):
        for question in ("When", "Where"):
            service = LocalSessionService(storage)
            runner = Runner(app_name="travel", agent=Echo(name="echo"), session_service=service)
            if await service.get_session(**TRIP) is None:
                await service.create_session(**TRIP)
            message = types.Content(role="user", parts=[types.Part(text=question)])
            async for _ in runner.run_async(user_id="alice", session_id="trip", new_message=message):
                pass
        session = await LocalSessionService(storage).get_session(**TRIP)
        assert texts(session) == ["When", "When? (1)", "Where", "Where? (2)"]
        (hit,) = storage.search("where", user_id="alice", limit=1)
        assert hit.session_id == "travel/alice/trip"


async def case_sessions_of_the_stock_service_are_imported_and_continued(folder: Path) -> None:
    from google.adk.sessions.sqlite_session_service import SqliteSessionService

    stock = SqliteSessionService(str(folder / "adk.db"))
    state = {"city": "Linz", "user:seat": 4, "app:currency": "EUR"}
    session = await stock.create_session(**TRIP, state=state)
    for number in range(3):
        await stock.append_event(session, said(f"q{number}", state_delta={"n": number}))
    expected = await stock.get_session(**TRIP)
    for storage in storages(folder):
        assert not storage.import_from("adk", folder / "adk.db").skipped
        service = LocalSessionService(storage)
        found = await service.get_session(**TRIP)
        assert found is not None
        assert expected is not None
        assert (found.state, found.events) == (expected.state, expected.events)
        await service.append_event(found, said("q3"))
        assert storage.import_from("adk", folder / "adk.db").items == 0
        assert texts(await service.get_session(**TRIP)) == ["q0", "q1", "q2", "q3"]
        assert [one.id for one in (await service.list_sessions(app_name="travel")).sessions] == ["trip"]
