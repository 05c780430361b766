"""Sessions of Claude Code become sessions of a store."""

import json
from pathlib import Path

import pytest

from localstore import JsonStorage, Run, Session
from localstore.maintenance.importing import Kind
from localstore.maintenance.importing.tree import fork_id
from localstore.maintenance.rescue import restore
from tests.unit.maintenance.importing.claude_lines import SESSION, ClaudeFile, calls
from tests.unit.maintenance.importing.conftest import Import, sessions_of


def read(store: JsonStorage, session_id: str = SESSION) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


@pytest.fixture
def file() -> ClaudeFile:
    """A session with one question, a tool call, and an answer."""
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    file.says("a1", "Let me look.", calls("t1", "Bash", command="trains"))
    file.returns("r1", "t1", "7:58", toolUseResult={"stdout": "7:58", "exitCode": 0})
    file.says("a2", "The one at 7:58.")
    return file


def test_a_question_and_all_that_follows_it_is_a_run(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    result = import_twice("claude-code", file.write(tmp_path / "p").parent)
    assert (result.added, result.runs, result.skipped) == ((SESSION,), 2, ())
    session = read(store)
    assert [run.run_id for run in session.runs] == ["u1", "u2"]
    assert [message.role for message in session.runs[0].messages] == ["user", "assistant", "tool", "assistant"]
    assert (session.runs[0].question, session.runs[0].answer) == ("Which train?", "The one at 7:58.")
    call = session.runs[0].messages[1].tool_calls
    assert call is not None
    assert (call[0].id, call[0].name, call[0].arguments) == ("t1", "Bash", {"command": "trains"})
    assert session.runs[0].messages[2].tool_call_id == "t1"
    assert session.runs[0].model == "claude-sonnet-4-5"
    assert session.runs[0].status == "completed"
    assert session.metadata == {
        "imported_from": "claude-code",
        "cwd": "/home/alice/work",
        "gitBranch": "main",
        "version": "2.0.14",
    }


def test_a_run_that_was_taken_out_of_the_store_is_not_imported_again(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile
) -> None:
    """Runs that come later are imported, in their order. A person may still restore the run."""
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    path = file.write(tmp_path / "p")
    store.import_from("claude-code", path)
    name = store.remove_run(SESSION, "u2")
    assert store.import_from("claude-code", path).unchanged == 1
    file.asks("u3", "Which platform?")
    file.says("a4", "Platform 2.")
    assert store.import_from("claude-code", file.write(tmp_path / "p")).runs == 1
    assert [run.run_id for run in read(store).runs] == ["u1", "u3"]
    restore(store, name)
    assert store.import_from("claude-code", path).unchanged == 1
    assert sorted(run.run_id for run in read(store).runs) == ["u1", "u2", "u3"]


def test_what_has_no_field_is_kept(tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import) -> None:
    """The structured result of a tool and the notes of the program are nowhere else once its files are deleted, which
    happens after 30 days."""
    file.add("system", "s1", subtype="turn_duration", durationMs=1200)
    file.lines.append('{"type":"file-history-snapshot","messageId":"u1","snapshot":{"trackedFileBackups":{}}}')
    import_twice("claude-code", file.write(tmp_path / "p"))
    (run,) = read(store).runs
    assert (run.messages[2].model_extra or {})["imported"]["toolUseResult"] == {"stdout": "7:58", "exitCode": 0}
    assert (run.messages[1].model_extra or {})["imported"]["requestId"] == "req_1"
    others = (run.model_extra or {})["imported"]
    assert [other["type"] for other in others] == ["system", "file-history-snapshot"]
    assert others[0]["durationMs"] == 1200


def test_a_long_output_that_lies_in_a_file_of_its_own_comes_along(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    """The message has only the beginning of the output, and the file is deleted with the session."""
    file = ClaudeFile()
    file.asks("u1", "Which trains?")
    file.says("a1", calls("t1", "Bash"))
    file.returns("r1", "t1", "<persisted-output>Full output: /x/tool-results/t1.txt</persisted-output>")
    path = file.write(tmp_path / "p")
    (path.with_suffix("") / "tool-results").mkdir(parents=True)
    (path.with_suffix("") / "tool-results" / "t1.txt").write_text("7:58\n8:58\n")
    import_twice("claude-code", path)
    assert (read(store).runs[0].messages[2].model_extra or {})["imported"]["output"] == "7:58\n8:58\n"


def test_the_lines_of_one_answer_become_one_message_whose_tokens_count_once(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    """The walk from the last line to the first one meets only one of two parallel calls, as both are children of the
    same line: the other one and its result were lost, and the tokens were counted for each line."""
    file = ClaudeFile()
    file.asks("u1", "Trains and buses?")
    file.says("a1", {"type": "thinking", "thinking": "Two calls.", "signature": "sig"}, answer="m1", tokens=1)
    file.says("a2", calls("t1", "Bash", command="trains"), answer="m1", tokens=5)
    file.says("a3", calls("t2", "Bash", command="buses"), answer="m1", tokens=30)
    file.returns("r1", "t1", "7:58", parentUuid="a2")
    file.returns("r2", "t2", "8:10", parentUuid="a3")
    file.says("a4", "7:58 and 8:10.", tokens=7)
    import_twice("claude-code", file.write(tmp_path / "p"))
    assert len(store.list_sessions()) == 1
    (run,) = read(store).runs
    assert [message.role for message in run.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    answer = run.messages[1]
    assert [call.id for call in answer.tool_calls or ()] == ["t1", "t2"]
    assert (answer.model_extra or {})["reasoning"] == "Two calls."
    assert {message.tool_call_id for message in run.messages[2:4]} == {"t1", "t2"}
    assert run.metrics is not None
    assert (run.metrics.input_tokens, run.metrics.cached_tokens, run.metrics.output_tokens) == (246, 200, 37)


def test_the_newest_branch_is_the_session_and_the_others_are_forks(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    file.asks("u3", "And on Sunday?", parentUuid="a2")
    file.says("a4", "At 9:00.")
    result = import_twice("claude-code", file.write(tmp_path / "p"))
    assert len(result.added) == 2
    assert [run.question for run in read(store).runs] == ["Which train?", "And on Sunday?"]
    fork = next(session for session in store.get_all_sessions() if session.session_id != SESSION)
    assert [run.question for run in fork.runs] == ["Which train?", "And back?"]
    assert fork.forked_from is not None
    assert (fork.forked_from.session_id, fork.forked_from.run_id) == (SESSION, "u1")


def test_a_branch_that_is_left_between_two_imports_moves_to_a_fork(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    """The session had the runs of both branches, one after the other, as if all of them had been said in it."""
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    path = file.write(tmp_path / "p")
    import_twice("claude-code", path)
    file.asks("u3", "And on Sunday?", parentUuid="a2")
    file.says("a4", "At 9:00.")
    file.write(tmp_path / "p")
    result = import_twice("claude-code", path)
    assert (len(result.added), result.extended) == (1, (SESSION,))
    assert [run.run_id for run in read(store).runs] == ["u1", "u3"]
    assert [run.run_id for run in read(store, result.added[0]).runs] == ["u1", "u2"]


@pytest.mark.parametrize("in_fork", [False, True])
def test_a_run_that_a_person_changed_does_not_leave_the_session(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, in_fork: bool
) -> None:
    """The rating of a run was lost when its branch was left: the fork had the run as the source has it. Also, the run
    left the session although the store had another session with the id of the fork, and so did not get the fork."""
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    path = file.write(tmp_path / "p")
    store.import_from("claude-code", path)
    if in_fork:
        store.append(fork_id(SESSION, "u2"), Run(run_id="own"))
    else:
        store.rate(SESSION, "u2", "good", note="on time")
    file.asks("u3", "And on Sunday?", parentUuid="a2")
    file.says("a4", "At 9:00.")
    file.write(tmp_path / "p")
    for _ in range(2):
        result = store.import_from("claude-code", path)
        assert len(result.skipped) == 1
        assert [run.run_id for run in read(store).runs] == ["u1", "u2", "u3"]
    assert read(store).runs[1].rating == (None if in_fork else "good")


def test_a_later_import_adds_what_is_new_and_keeps_what_the_store_has(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    path = tmp_path / "p" / f"{SESSION}.jsonl"
    complete, file.lines = file.lines, file.lines[:3]
    file.write(path.parent)
    import_twice("claude-code", path)
    assert read(store).runs[0].status == "unfinished"
    store.rate(SESSION, "u1", "good")
    store.update(SESSION, name="Trip")
    file.lines = complete
    file.asks("u2", "And back?")
    file.add("ai-title", "x", aiTitle="Trains")
    file.write(path.parent)
    result = import_twice("claude-code", path)
    assert (result.added, result.extended, result.runs) == ((), (SESSION,), 2)
    session = read(store)
    assert session.name == "Trip"
    assert [(run.status, run.rating) for run in session.runs] == [("completed", "good"), ("unfinished", None)]


def test_a_run_that_a_person_changed_stays(tmp_path: Path, store: JsonStorage, file: ClaudeFile) -> None:
    """The next import wrote the text of the source over what the person had typed."""
    path = file.write(tmp_path / "p")
    store.import_from("claude-code", path)
    document = store.path(SESSION)
    document.write_text(document.read_text().replace("Which train?", "Which train to Linz?"))
    result = store.import_from("claude-code", path)
    assert (result.extended, result.runs) == ((), 0)
    assert [str(part).partition(": ")[2] for part in result.skipped] == [
        "run u1 was changed in the store, and stays as it is there"
    ]
    assert read(store).runs[0].question == "Which train to Linz?"


def test_another_session_with_the_same_id_is_not_touched(tmp_path: Path, store: JsonStorage, file: ClaudeFile) -> None:
    from localstore import Message

    store.append(SESSION, Run(messages=[Message(role="user", content="Hello")]), user_id="alice")
    before = store.path(SESSION).read_bytes()
    result = store.import_from("claude-code", file.write(tmp_path / "p"))
    assert (result.added, result.extended) == ((), ())
    assert result.skipped[0].problem == "the store has another session with this id, which was not changed"
    assert store.path(SESSION).read_bytes() == before


def test_a_subagent_is_a_member_run_of_the_run_that_started_it(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    file = ClaudeFile()
    file.asks("u1", "Look around.")
    file.says("a1", calls("t1", "Task", prompt="Find tests.", subagent_type="Explore"))
    file.asks("x1", "Find tests.", parentUuid=None, isSidechain=True)
    file.says("x2", "In tests/.", parentUuid="x1", isSidechain=True)
    file.says("a2", calls("t2", "Task", prompt="Find docs.", subagent_type="Plan"))
    file.returns("r1", "t1", "In tests/.", parentUuid="a1")
    file.returns("r2", "t2", "In docs/.", toolUseResult={"agentId": "7f3a"}, parentUuid="a2")
    file.says("a3", "Done.")
    path = file.write(tmp_path / "p")
    agent = ClaudeFile()
    agent.asks("y1", "Find the docs, please.", isSidechain=True, agentId="7f3a")
    agent.says("y2", "In docs/.", isSidechain=True, agentId="7f3a")
    (folder := path.with_suffix("") / "subagents").mkdir(parents=True)
    (folder / "agent-7f3a.jsonl").write_text("\n".join(agent.lines))
    result = import_twice("claude-code", tmp_path / "p")
    assert len(result.added) == 1
    (run,) = read(store).runs
    members = {member.run_id: member for member in run.member_runs or ()}
    assert {name: (member.agent_id, member.tool_call_id, member.answer) for name, member in members.items()} == {
        "x1": ("Explore", "t1", "In tests/."),
        "7f3a": ("Plan", "t2", "In docs/."),
    }


def test_a_compaction_keeps_what_came_before_it(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    file.says("a1", "The one at 7:58.")
    file.add("system", "c1", subtype="compact_boundary", parentUuid=None, logicalParentUuid="a1")
    file.asks("u2", "They talked about trains.", isCompactSummary=True)
    file.asks("u3", "And back?")
    file.says("a2", "At 17:02.")
    import_twice("claude-code", file.write(tmp_path / "p"))
    session = read(store)
    assert [run.question for run in session.runs] == ["Which train?", "And back?"]
    assert session.session_summary == "They talked about trains."


def test_what_the_program_says_for_the_user_is_no_question(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    file = ClaudeFile()
    file.asks("m1", "Caveat: the messages below were made by commands.", isMeta=True)
    file.asks("u1", "Which train?")
    file.says("a1", "The one", calls("t1", "Bash"))
    file.asks("i1", "[Request interrupted by user for tool use]")
    file.asks("u2", "<command-name>/cost</command-name>")
    file.asks("o1", "<local-command-stdout>3 dollars</local-command-stdout>")
    import_twice("claude-code", file.write(tmp_path / "p"))
    session = read(store)
    assert [(run.question, run.status) for run in session.runs] == [
        ("Which train?", "cancelled"),
        ("<command-name>/cost</command-name>", "completed"),
    ]


def test_titles_name_a_session_also_from_the_file_of_another_one(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    file.write(tmp_path / "p")
    other = ClaudeFile("1d5a1f9e-6f0e-4f4e-9f5c-3f1d2b7a8c11")
    other.lines = ['{"type":"summary","summary":"A train to Linz","leafUuid":"a2"}']
    other.asks("v1", "Hello")
    other.write(tmp_path / "p")
    import_twice("claude-code", tmp_path / "p")
    assert read(store).name == "A train to Linz"
    assert read(store, other.session_id).name is None


def test_lines_that_cannot_be_read_are_named_and_the_others_imported(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    """One torn line made its whole file unreadable, or cut off all that came before it in the tree."""
    file.asks("u2", "And back?")
    file.says("a3", "At 17:02.")
    file.lines[1:1] = ["{", "[1]", '{"type":"user","uuid":"b1","message":7}', "\0\0\0", "[" * 5000, '"\\x"']
    file.lines[9] = file.lines[9][:40]  # the answer a2, whose child is the question u2
    file.lines.append('{"type":"assistant","uuid":"a9","mess')
    path = file.write(tmp_path / "p")
    result = import_twice("claude-code", path)
    assert {(part.path, part.line) for part in result.skipped} == {
        (str(path), line) for line in (2, 3, 4, 6, 7, 10, 13)
    }
    assert [run.question for run in read(store).runs] == ["Which train?", "And back?"]


def test_values_that_no_document_can_hold_become_text(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    """A number beyond 64 bits was rounded, and half of an emoji made a line unreadable."""
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    file.says("a1", calls("t1", "Bash", number=12345678901234567890123, pi=1.5, deep=deep))
    file.lines[1] = file.lines[1].replace("1.5", "3.14159265358979323846")
    file.returns("r1", "t1", "half \ud83d of it")
    file.lines[2] = file.lines[2].replace("\ud83d", "\\ud83d")
    path = file.write(tmp_path / "p")
    result = import_twice("claude-code", path)
    assert result.skipped == ()
    (run,) = read(store).runs
    call = (run.messages[1].tool_calls or [])[0]
    arguments = call.arguments
    assert isinstance(arguments, dict)
    assert arguments["number"] == "12345678901234567890123"
    assert arguments["pi"] == "3.14159265358979323846"
    assert "[[[[" in json.dumps(arguments["deep"])
    assert run.messages[2].text == "half \\ud83d of it"


def test_cycles_and_missing_parents_end_in_a_session(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    file = ClaudeFile()
    file.asks("u1", "One?", parentUuid="a2")
    file.says("a1", "1", parentUuid="a1")
    file.asks("u2", "Two?", parentUuid="nowhere")
    file.says("a2", "2", parentUuid=7)
    file.asks("u2", "Two again?", parentUuid="a2")
    import_twice("claude-code", file.write(tmp_path / "p"))
    assert [run.question for run in read(store).runs] == ["One?", "Two?", "Two again?"]


def test_an_error_of_the_server_is_the_error_of_its_run(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    file.says("a1", "API Error: 529 overloaded", isApiErrorMessage=True)
    file.asks("u2", "Again?")
    file.says("a2", "API Error: 529 overloaded", isApiErrorMessage=True)
    file.says("a3", "7:58.")
    import_twice("claude-code", file.write(tmp_path / "p"))
    assert [(run.status, run.error) for run in read(store).runs] == [
        ("error", "API Error: 529 overloaded"),
        ("completed", None),
    ]


def test_images_become_parts(tmp_path: Path, file: ClaudeFile) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    file.add("user", "u2", {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]})
    entries = sessions_of("claude-code", file.write(tmp_path / "p"))[SESSION].entries
    assert entries[1]["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image", "url": "data:image/png;base64,AAAA", "mime_type": "image/png"},
    ]


@pytest.mark.parametrize("kind", ["claude-code", "codex", "chatgpt", "agno", "atif"])
def test_a_folder_without_sessions_is_named(tmp_path: Path, store: JsonStorage, kind: Kind) -> None:
    """An import of a wrong folder said that it had imported nothing, and not why."""
    (tmp_path / "p").mkdir()
    result = store.import_from(kind, tmp_path / "p")
    assert (result.added, result.extended, result.unchanged, result.runs) == ((), (), 0, 0)
    assert [part.path for part in result.skipped] == [str(tmp_path / "p")]


def test_subagents_without_their_session_are_named(tmp_path: Path, store: JsonStorage, file: ClaudeFile) -> None:
    """The files of subagents whose session was deleted were left out without a word."""
    folder = file.write(tmp_path / "p").parent
    agent = ClaudeFile("1d5a1f9e-6f0e-4f4e-9f5c-3f1d2b7a8c11")
    agent.asks("y1", "Find the docs.", isSidechain=True, agentId="7f3a")
    (folder / agent.session_id / "subagents").mkdir(parents=True)
    for path in (folder / agent.session_id / "subagents" / "agent-7f3a.jsonl", folder / "agent-7f3b.jsonl"):
        path.write_text("\n".join(agent.lines))
    result = store.import_from("claude-code", tmp_path / "p")
    assert result.added == (SESSION,)
    assert {Path(part.path).name for part in result.skipped} == {"agent-7f3a.jsonl", "agent-7f3b.jsonl"}
    assert store.import_from("claude-code", folder / "agent-7f3b.jsonl").skipped[0].problem.startswith("it has only")


def test_the_file_of_a_subagent_may_lie_beside_that_of_its_session(
    tmp_path: Path, store: JsonStorage, file: ClaudeFile, import_twice: Import
) -> None:
    folder = file.write(tmp_path / "p").parent
    agent = ClaudeFile()
    agent.asks("y1", "Find the docs.", isSidechain=True, agentId="7f3a")
    (folder / "agent-7f3a.jsonl").write_text("\n".join(agent.lines))
    import_twice("claude-code", tmp_path / "p")
    (run,) = read(store).runs
    assert [member.run_id for member in run.member_runs or ()] == ["7f3a"]


def test_a_wrong_kind_or_path_is_refused(tmp_path: Path, store: JsonStorage) -> None:
    with pytest.raises(ValueError, match="Did you mean 'claude-code'"):
        store.import_from("claude-cod", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no such file or folder to import"):
        store.import_from("claude-code", tmp_path / "nowhere")
