"""agno's own agents run on a `LocalDb`. After each run it returns what agno's JsonDb returns."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from agno.exceptions import ModelProviderError
from agno.tools import tool

from tests.agno_db.parts import AGENT, RUNS_APART, Twin, agent, opened, said, stored, text_of, visit
from tests.scripted_server import ScriptedServer, error, scripted_server, text, tool_call


def status_of(run: Any) -> str:
    """Return the status of a run, which agno 2.x reads as text."""
    return str(getattr(run.status, "value", run.status))


def case_an_agent_goes_on_with_the_last_three_runs(folder: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(6)]) as server:
        for number in range(6):
            db = Twin(folder)
            agent(db, server, user_id="alice", instructions="Be brief.").run(f"q{number}")
            assert len(db.same("s1", AGENT).runs) == number + 1
        assert said(server.requests[5]) == ["q2", "a2", "q3", "a3", "q4", "a4", "q5"]
    content = text_of(db)
    assert content.count('"q1"') == content.count('"a1"') == content.count('"instructions"') == 1
    assert "agno_run" not in content


def case_copies_of_the_history_are_not_stored_twice(folder: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(5)]) as server:
        db = Twin(folder)
        it = agent(db, server)
        if hasattr(it, "store_history_messages"):
            it.store_history_messages = True
        for number in range(5):
            it.run(f"q{number}")
        found = db.same("s1", AGENT)
    assert len([m for m in found.runs[4].messages if m.from_history]) == 6
    history = stored(db)["history"]
    runs = [entry for entry in history if entry["type"] == "run"]
    assert [len(one["messages"]) for one in runs] == [2] * 5
    limited = db._reader.session("s1", lambda _: True, 1)
    assert limited is not None
    assert len([m for m in limited.runs[0]["messages"] if m.get("from_history")]) == 6


def case_streaming(folder: Path) -> None:
    with scripted_server(text("Vienna it is."), text("Yes.")) as server:
        db = Twin(folder)
        it = agent(db, server)
        pieces = [event.content for event in it.run("Where?", stream=True) if getattr(event, "content", None)]
        assert len(pieces) > 1
        assert db.same("s1", AGENT).runs[0].content == "Vienna it is."
        it.run("Sure?", stream=False)
        assert said(server.requests[1]) == ["Where?", "Vienna it is.", "Sure?"]


def case_async(folder: Path) -> None:
    with scripted_server(text("a0"), text("a1")) as server:
        db = Twin(folder)
        for number in range(2):
            asyncio.run(agent(db, server).arun(f"q{number}"))
        assert said(server.requests[1]) == ["q0", "a0", "q1"]
        db.same("s1", AGENT)


def case_a_tool_changes_the_state(folder: Path) -> None:
    with scripted_server(tool_call("visit", '{"city":  "Wien"}'), text("Noted."), text("Wien.")) as server:
        db = Twin(folder)
        agent(db, server, tools=[visit], session_state={"n": 1}).run("I was in Wien.")
        found = db.same("s1", AGENT)
        assert found.session_data["session_state"] == {"n": 1, "visited": ["Wien"]}
        assert found.runs[0].tools[0].result == "Wien noted"
        agent(opened(folder / "store"), server, tools=[visit], session_state={"n": 1}).run("Where was I?")
        assert any(m["role"] == "tool" and m["content"] == "Wien noted" for m in server.requests[2]["messages"])
    session = opened(folder / "store").storage.read("s1")
    assert session is not None
    assert session.session_state == {"n": 1, "visited": ["Wien"]}
    call = session.runs[0].messages[1].tool_calls
    assert call is not None
    assert call[0].arguments == {"city": "Wien"}


def case_a_pause_for_confirmation_and_its_continuation(folder: Path) -> None:
    def book(city: str) -> str:
        """Book a train."""
        return f"booked {city}"

    booking = tool(requires_confirmation=True)(book)

    def made(db: Any, server: ScriptedServer) -> Any:
        return agent(db, server, tools=[booking], instructions="Ask first.")

    with scripted_server(text("hello"), tool_call("book", '{"city": "Wien"}'), text("Done."), text("Bye.")) as server:
        db = Twin(folder)
        made(db, server).run("hi")
        paused = made(db, server).run("Book it.")
        assert paused.is_paused
        assert status_of(db.same("s1", AGENT).runs[1]) == "PAUSED"
        waiting = db.storage.read("s1")
        assert waiting is not None
        assert waiting.runs[-1].status == "unfinished"
        db = Twin(folder)
        found = db.get_session("s1", AGENT).runs[1]
        if RUNS_APART:
            for requirement in found.requirements:
                requirement.confirm()
            answers = {"requirements": found.requirements}
        else:
            for one in found.tools:
                one.confirmed = True
            answers = {"updated_tools": found.tools}
        done = made(db, server).continue_run(run_id=paused.run_id, session_id="s1", **answers)
        assert done.content == "Done."
        found = db.same("s1", AGENT)
        assert [one.content for one in found.runs] == ["hello", "Done."]
        made(db, server).run("Thanks")
        assert len(db.get_session("s1", AGENT).runs) == 3
        assert "booked Wien" in [m.get("content") for m in server.requests[3]["messages"]]
        if len(server.requests[2]["messages"]) > 4:  # with the history that was paused with it
            assert said(server.requests[2])[:2] == ["hi", "hello"]


def case_a_failed_run_is_kept_as_such(folder: Path) -> None:
    with scripted_server(error(400, "no such model"), text("a1")) as server:
        db = Twin(folder)
        with suppress(ModelProviderError):  # agno 2.0 raises it
            agent(db, server).run("q0")
        agent(db, server).run("q1")
        db.same("s1", AGENT)


def case_a_cached_session_does_not_come_back_after_its_deletion(folder: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(3)]) as server:
        db = opened(folder)
        it = agent(db, server, cache_session=True)
        it.run("q0")
        it.run("q1")
        opened(folder).delete_session("s1")
        it.run("q2")
        assert [one.content for one in db.get_session("s1", AGENT).runs] == ["a2"]


def case_a_session_is_renamed_by_the_agent(folder: Path) -> None:
    with scripted_server(text("a0"), text("a1")) as server:
        db = Twin(folder)
        it = agent(db, server)
        it.run("q0")
        it.set_session_name(session_id="s1", session_name="Trip")
        it.run("q1")
        assert db.same("s1", AGENT).session_data["session_name"] == "Trip"
        assert db.storage.list_sessions()[0].name == "Trip"


def case_a_value_that_cannot_be_stored_fails_the_save_and_keeps_the_file(folder: Path) -> None:
    with scripted_server(text("a0"), text("a1")) as server:
        db = opened(folder)
        agent(db, server, session_state={"n": 1}).run("q0")
        before = db.storage.revision("s1")
        agent(db, server, session_state={"n": 1}).run("q1", session_state={"bad": object()})
        assert db.storage.revision("s1") == before
