"""`localstore show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import Item, JsonStorage, Message, Run, Step, YamlStorage
from localstore.format.values import to_json_value
from localstore.models.session import ContentPart, Metrics
from localstore.storage.plain_session import plain_entry
from tests.effort import ci_only

from .conftest import Command, weather_run

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def add_run(store: Path, session_id: str, **fields: Any) -> None:
    fields = {"created_at": "2026-01-05T10:00:00.000Z", "run_id": "r1", **fields}
    JsonStorage(store).append(session_id, Run(**fields))


def edit(store: Path, session_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a document as a person would, in the layout of localstore."""
    path = JsonStorage(store).path(session_id)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2) + "\n")


def test_a_pipe_gets_the_whole_session_as_text(run: Command, store: Path) -> None:
    """The header comes first, then every entry, with its parts indented below it."""
    done = run("show", "graz-1", "--store", store)
    assert (done.returncode, done.stderr) == (0, "")
    run_id = JsonStorage(store).read("graz-1").runs[0].run_id  # type: ignore[union-attr]
    assert done.stdout == (
        f"""session_id  graz-1
kind        agent
agent_id    guide
user_id     alice
created_at  2026-01-01T10:00:00.000Z
updated_at  2026-01-01T10:00:00.000Z
runs        1
path        {store}/sessions/2026-01/graz-1.json

run 1  {run_id}  2026-01-01T10:00:00.000Z  gpt-4o-mini  completed
  user
    Graz?
  assistant
    calls get_weather({{"city": "Wien"}})
  tool get_weather
    line 1 of the tool
    line 2 of the tool
    line 3 of the tool
  assistant
    Rain.
"""
    )


def test_a_pipe_gets_everything_in_full(invoke: Invoke, store: Path) -> None:
    """A pipe gets all entries and the complete output of tools."""
    text = invoke("show", "vienna-trip", "--store", store).stdout
    assert text.count("line 130 of the tool") == 12
    assert [line.split()[1] for line in text.splitlines() if line.startswith("run ")] == [str(n) for n in range(1, 13)]


def test_the_last_entries_keep_their_numbers(invoke: Invoke, store: Path) -> None:
    """`--last` keeps the numbers of the runs and says how many come before."""
    text = invoke("show", "vienna-trip", "--store", store, "--last", "2").stdout
    assert [line.split()[1] for line in text.splitlines() if line.startswith("run ")] == ["11", "12"]
    assert "… 10 earlier runs. --all shows them." in text
    assert "question 10" not in text
    assert "question 11" in text


def test_the_header_alone_can_be_shown(invoke: Invoke, store: Path) -> None:
    """`--last 0` shows only the header."""
    text = invoke("show", "vienna-trip", "--store", store, "--last", "0").stdout
    assert text.startswith("session_id  vienna-trip\n")
    assert "… 12 earlier runs" in text
    assert "question" not in text


def test_without_a_session_the_newest_is_shown_and_named(run: Command, store: Path) -> None:
    """The standard error says which session is shown."""
    done = run("show", "--store", store)
    assert done.stdout.startswith("session_id  vienna-trip\n")
    assert done.stderr == "localstore: Showing the newest session, vienna-trip\n"


def test_an_empty_store_has_no_newest_session(run: Command, tmp_path: Path) -> None:
    """The exit code is 3, and the error says why."""
    JsonStorage(tmp_path)
    done = run("show")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("localstore: This store has no sessions yet.")


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_json_is_the_document(invoke: Invoke, store: Path, session_id: str) -> None:
    """`--json` prints the same JSON for both formats."""
    from localstore.format.yaml_reader import load

    path = JsonStorage(store).path(session_id)
    document = load(path.read_bytes()) if path.suffix == ".yaml" else json.loads(path.read_bytes())
    document.pop("$schema", None)
    assert json.loads(invoke("show", session_id, "--store", store, "--json").stdout) == document


def test_json_of_the_last_entries(invoke: Invoke, store: Path) -> None:
    """`--json --last` leaves out earlier entries only."""
    document = json.loads(invoke("show", "vienna-trip", "--store", store, "--json", "--last", "2").stdout)
    assert [entry["messages"][0]["content"] for entry in document["history"]] == ["question 11", "question 12"]
    assert document["name"] == "Trip to Vienna"


def test_unknown_entries_roles_and_keys_are_shown(invoke: Invoke, store: Path) -> None:
    """Entries, roles and keys that this release does not know are printed, not hidden."""

    def change(document: dict[str, Any]) -> None:
        document["mood"] = "sunny"
        document["history"][0]["score"] = {"stars": 5}
        document["history"][0]["messages"].append({"role": "oracle", "content": "Maybe.", "depth": 3})
        document["history"].append({"type": "bookmark", "label": "here", "range": [1, 2]})

    edit(store, "graz-1", change)
    text = invoke("show", "graz-1", "--store", store).stdout
    for line in (
        "mood        sunny",
        '  score  {"stars": 5}',
        "  oracle",
        "    depth  3",
        "bookmark",
        "  range  [1, 2]",
    ):
        assert f"\n{line}\n" in text


def test_the_kinds_of_content_are_shown(invoke: Invoke, store: Path) -> None:
    """Parts, steps, runs of members, state, metrics and errors are each shown."""
    member = Run(
        run_id="m1", agent_id="scout", messages=[Message(role="user", content="Look!")], status="error", error="lost"
    )
    add_run(
        store,
        "rich",
        input={"topic": "x"},
        messages=[
            Message(
                role="user", content=[ContentPart(type="text", text="See:"), ContentPart(type="image", url="a.png")]
            )
        ],
        member_runs=[member],
        steps=[
            Step(
                name="search",
                output=["found"],
                messages=[Message(role="user", content="in a step")],
                status="completed",
            )
        ],
        session_state={"cart": [{"item": f"thing {number}", "price": 9.5} for number in range(4)]},
        metrics=Metrics(input_tokens=31, output_tokens=12, duration_seconds=0.8),
        error="the model did not answer",
        status="error",
    )
    text = invoke("show", "rich", "--store", store).stdout
    for part in (
        '\n  input  {"topic": "x"}\n',
        '\n    See:\n    [{"type": "image", "url": "a.png"}]\n',
        "\n  member scout  m1  ",
        "\n      Look!\n",
        "\n    error  lost\n",
        "\n  step search  ",
        '\n    output  ["found"]\n',
        "\n      in a step\n",
        '\n  session_state\n    {\n      "cart": [\n',
        "\n  metrics  input_tokens 31, output_tokens 12, duration_seconds 0.8\n",
        "\n  error  the model did not answer\n",
    ):
        assert part in text, part


def test_the_state_from_earlier_entries_is_shown(invoke: Invoke, store: Path) -> None:
    """The last entries alone do not contain the whole state."""
    storage = YamlStorage(store)
    storage.update("linz-1", session_state={"cart": 1})
    storage.append("linz-1", Run(messages=[Message(role="user", content="again")]))
    assert (
        'session_state (from earlier)  {"cart": 1}' in invoke("show", "linz-1", "--store", store, "--last", "1").stdout
    )
    assert "from earlier" not in invoke("show", "linz-1", "--store", store).stdout


def test_hostile_texts_are_escaped(run: Command, store: Path) -> None:
    """Text keeps its lines and tabs; all other control characters are escaped."""
    message = {"role": "u\nser", "content": "one\ttab\ntwo\x1b[2J\x07\r\u202ethree 😀"}
    add_run(store, "bad\x1b]0;id", messages=[Message.model_validate(message)])
    text = run("show", "--store", store).stdout
    assert "\n  u\\nser\n    one\ttab\n    two\\x1b[2J\\x07\\r\\u202ethree 😀\n" in text
    assert "session_id  bad\\x1b]0;id\n" in text
    as_json = run("show", "--store", store, "--json").stdout
    assert json.loads(as_json)["session_id"] == "bad\x1b]0;id"
    assert not set("\x1b\x07\r\u202e") & set(as_json)


def test_a_broken_document_is_refused_with_its_line(run: Command, store: Path) -> None:
    """The exit code is 4, and the error has the path and the next step."""
    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"messages": [', '"messages": [[', 1))
    done = run("show", "graz-1", "--store", store)
    assert (done.returncode, done.stdout) == (4, "")
    assert str(path) in done.stderr
    assert "line " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_document_of_a_newer_version_is_refused(run: Command, store: Path) -> None:
    """The exit code is 4, and the document does not change."""
    edit(store, "graz-1", lambda document: document.update(schema_version=99))
    before = JsonStorage(store).path("graz-1").read_bytes()
    done = run("show", "graz-1", "--store", store)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Update localstore." in done.stderr
    assert JsonStorage(store).path("graz-1").read_bytes() == before


@posix
def test_a_terminal_shows_the_last_ten_entries_folded(store: Path) -> None:
    """Long tool output is cut, and the number of missing lines is shown."""
    from .pseudo_terminal import on_terminal

    screen = on_terminal("show", "vienna-trip", cwd=store)
    assert screen.code == 0
    assert [line.split()[1] for line in screen.lines if line.startswith("run ")] == [str(n) for n in range(3, 13)]
    assert sum(line.strip() == "… 122 more lines" for line in screen.lines) == 10
    assert "line 8 of the tool" in screen.text
    assert "line 9 of the tool" not in screen.text
    assert "… 2 earlier runs. --all shows them." in screen.text
    assert "\x1b[1;32m  user" in screen.raw


@ci_only
@posix
def test_a_terminal_shows_everything_on_request(store: Path) -> None:
    """`--all` and `--full` show what a terminal leaves out."""
    from .pseudo_terminal import on_terminal

    everything = on_terminal("show", "vienna-trip", "--all", cwd=store)
    assert sum(line.startswith("run ") for line in everything.lines) == 12
    assert "more lines" in everything.text
    full = on_terminal("show", "vienna-trip", "--full", "--last", "1", cwd=store)
    assert "line 130 of the tool" in full.text
    assert "more lines" not in full.text


@posix
@pytest.mark.parametrize("columns", [40, 100])
def test_a_session_fits_the_width_of_the_terminal(store: Path, columns: int) -> None:
    """Long lines wrap with their indentation, and control characters are escaped."""
    from rich.cells import cell_len

    from .pseudo_terminal import on_terminal

    content = "word " * 60 + "\n\x1b[2J\x9b\x7f\u202e[red]not markup[/red]\n日本語" + "長" * 80
    add_run(store, "hostile", messages=[Message(role="user", content=content)])
    JsonStorage(store).update("hostile", name="Long lines")
    screen = on_terminal("show", cwd=store, columns=columns)
    assert all(cell_len(line) <= columns for line in screen.lines[1:])  # the first is from stderr
    assert all(line.startswith("    ") for line in screen.lines if "word" in line)
    assert "\\x1b[2J\\x9b\\x7f\\u202e[red]not markup[/red]" in " ".join(screen.text.split())
    assert not set("\x1b\x9b\x7f\u202e") & set(screen.text)


@pytest.mark.parametrize(("run", "number"), [("3", 3), ("-1", 12), ("r5", 5)])
def test_one_run_is_shown(invoke: Invoke, store: Path, run: str, number: int) -> None:
    """`--run` counts as `rate` does, and takes ids too."""
    edit(store, "vienna-trip", lambda document: document["history"][4].update(run_id="r5-of-many"))
    text = invoke("show", "vienna-trip", "--store", store, "--run", run).stdout
    assert [line.split()[1] for line in text.splitlines() if line.startswith("run ")] == [str(number)]
    assert text.startswith("session_id  vienna-trip\n")
    document = json.loads(invoke("show", "vienna-trip", "--store", store, "--run", run, "--json").stdout)
    assert [entry["messages"][0]["content"] for entry in document["history"]] == [f"question {number}"]


def test_a_run_that_does_not_exist_is_named_with_those_that_do(invoke: Invoke, store: Path) -> None:
    done = invoke("show", "graz-1", "--store", store, "--run", "no")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "localstore: No run of 'graz-1' matches 'no'. Give the number or the id of one:\n    1  "
    )


@pytest.mark.parametrize("options", [["--run", "1", "--last", "2"], ["--all", "--run", "1"], ["--json", "--tools"]])
def test_options_that_contradict_each_other_are_refused(invoke: Invoke, store: Path, options: list[str]) -> None:
    done = invoke("show", "graz-1", "--store", store, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "cannot be combined" in done.stderr


def add_team_run(store: Path) -> None:
    """Store a run with every kind of message, in which a member calls a tool as well."""
    asked = weather_run("Wien?", "Sun.", created_at="2026-01-05T10:00:00.000Z", lines=1).messages
    prompt = Message(role="system", content="Be brief.")
    member = Run(agent_id="scout", messages=asked)
    step = Step(name="look", messages=asked[:2], status="completed")
    add_run(store, "team", messages=[prompt, *asked], member_runs=[member], steps=[step], error="late", status="error")
    add_run(store, "team", run_id="r2", input={"city": "Linz"}, output="Fog.")
    JsonStorage(store).update("team", session_state={"a": 1})


def test_the_messages_alone_are_shown(invoke: Invoke, store: Path) -> None:
    """Instructions, tools, members and fields are left out; input and output count as question and answer."""
    add_team_run(store)
    assert invoke("show", "team", "--store", store, "--messages").stdout == (
        'user\n  Wien?\nassistant\n  Sun.\nerror: late\n\nuser\n  {\n    "city": "Linz"\n  }\nassistant\n  Fog.\n'
    )


def test_the_tool_calls_alone_are_shown(invoke: Invoke, store: Path) -> None:
    """Those of members and steps are below their headings. Together with the messages, each is in its place."""
    add_team_run(store)
    calls = ["  assistant", '    calls get_weather({"city": "Wien"})']
    result = ["  tool get_weather", "    line 1 of the tool"]
    inside = [
        *["  member scout", *(f"  {line}" for line in calls + result)],
        *["  step look", *(f"  {line}" for line in calls)],
    ]
    text = invoke("show", "team", "--store", store, "--tools").stdout
    assert text.splitlines() == ["run 1", *calls, *result, *inside]
    both = invoke("show", "team", "--store", store, "--tools", "--messages", "--run", "1").stdout
    outer = [line.removeprefix("  ") for line in [*calls, *result]]
    assert both.splitlines() == [
        *["user", "  Wien?", *outer, "assistant", "  Sun."],
        *[line.removeprefix("  ") for line in inside],
        "error: late",
    ]


@ci_only
@posix
def test_a_terminal_gets_a_short_header_and_markdown_in_its_pager(store: Path) -> None:
    """The header is a title and one line. `less` gets the usual options."""
    from .pseudo_terminal import on_terminal

    answer = "# Trains\n\nTake **the 7:58** \x1b[2J"
    add_run(store, "md", messages=[Message(role="user", content="*Which?*"), Message(role="assistant", content=answer)])
    JsonStorage(store).update("md", name="A trip", add_tags=["rail"])
    pager = "sh -c 'echo options $LESS; sed s/^/:/'"
    screen = on_terminal("show", "md", "--messages", cwd=store, columns=40, env={"PAGER": pager})
    assert screen.code == 0
    lines = [line.rstrip() for line in screen.lines]
    assert lines[:3] == ["options FRX", ":A trip", ":md · agent · 1 run · 2026-01-05 · #rail"]
    assert [line.split() for line in lines[3:]] == [
        *[[":"], [":user"], [":", "*Which?*"], [":assistant"]],
        *[[":", "Trains"], [":"], [":", "Take", "the", "7:58", "\\x1b[2J"]],
    ]
    assert "\x1b[1mthe 7:58\x1b[0m" in screen.raw


@ci_only
@posix
@pytest.mark.parametrize("option", ["--no-pager", "--all"])
def test_no_pager_is_used_on_request(store: Path, option: str) -> None:
    from .pseudo_terminal import on_terminal

    pager = "" if option == "--all" else "echo unused"
    screen = on_terminal("show", "vienna-trip", option, cwd=store, env={"PAGER": pager})
    assert (screen.code, screen.lines[0]) == (0, "Trip to Vienna")


def test_answers_alone_are_rendered_as_markdown() -> None:
    """What a person typed and what a tool returned appear as they are. No spaces are added at the end of a line."""
    from io import StringIO

    from rich.console import Console

    module = import_module("localstore_cli.transcript")
    said = [{"role": role, "content": "**bold** &rlm;\x1b[2J"} for role in ("user", "assistant", "tool")]
    pieces = list(module.Transcript(person=True, fold=True).entry({"type": "run", "messages": said}, 1))
    text = StringIO()
    import_module("localstore_cli.pieces").Printer(
        Console(file=text, force_terminal=True, width=40, color_system=None)
    )(pieces)
    assert text.getvalue().splitlines() == [
        *["run 1", "  user", "    **bold** &rlm;\\x1b[2J"],
        *["  assistant", "    bold \\u200f\\x1b[2J", "  tool", "    **bold** &rlm;\\x1b[2J"],
    ]


@posix
def test_a_very_long_line_of_a_tool_is_folded(store: Path) -> None:
    """Many tools answer in one long line."""
    from .pseudo_terminal import on_terminal

    add_run(store, "long", messages=[Message(role="tool", content="x" * 5000)])
    screen = on_terminal("show", "long", cwd=store)
    assert "… 4,600 more characters" in screen.text.replace("\n    ", "")


def test_runs_of_members_and_steps_are_folded_to_question_and_answer() -> None:
    """They are indented, with the name of the member or the number of the step."""
    transcript = import_module("localstore_cli.transcript").Transcript(person=True, fold=True)
    said = [Message(role="assistant" if number % 2 else "user", content=f"said {number}") for number in range(6)]
    inner = Run(agent_id="ann", tool_call_id="c1", messages=said)
    member = Run(team_id="editors", messages=said[:3], member_runs=[inner])
    step = Step.model_validate({"name": "write", "within": ["draft[2]"], "messages": said, "status": "waiting"})
    run = plain_entry(to_json_value(Run(messages=said, member_runs=[member], steps=[step])))
    pieces = list(transcript.entry(run, 1))
    shown = [f"{' ' * piece.indent}{piece.text}" for piece in pieces]
    assert len([line for line in shown if line.startswith("    said ")]) == 6
    at = next(number for number, line in enumerate(shown) if line.startswith("  member editors  "))
    assert [line for line in shown[at + 1 :] if not line.startswith(("  step", "    member"))] == [
        *["    user", "      said 0", "    assistant", "      said 1", "    user", "      said 2"],
        *["      user", "        said 0", "      … 4 more messages", "      assistant", "        said 5"],
        *["    user", "      said 0", "    … 4 more messages", "    assistant", "      said 5"],
    ]
    assert [piece.style for piece in pieces if piece.text.startswith("step draft[2] / write  ")] == ["yellow"]


@pytest.mark.parametrize(("lines", "shown"), [(8, 8), (9, 9), (10, 9)])
def test_a_text_is_folded_when_that_saves_a_line(lines: int, shown: int) -> None:
    """A text with one line too many is not folded, because '… 1 more line' takes a line as well."""
    transcript = import_module("localstore_cli.transcript").Transcript(person=True, fold=True)
    text = transcript.folded("line\n" * lines)
    assert text.count("\n") + 1 == shown
    assert text.endswith("… 2 more lines") == (lines == 10)


def test_a_second_document_of_the_session_is_named(run_process: Command, store: Path) -> None:
    """The warning had the path and a line of the source code of the command in it."""
    path = JsonStorage(store).path("graz-1")
    copy = path.with_name("copy.json")
    copy.write_bytes(path.read_bytes())
    for manifest in (True, False):
        if not manifest:
            (store / ".localstore/manifest.jsonl").unlink()
        done = run_process("show", "graz-1", "--store", store)
        assert done.returncode == 0
        assert done.stderr == (
            f"localstore: Session 'graz-1' has a copy, which is not read: {copy}. Unite them with "
            "'localstore merge' or storage.merge_copies().\n"
        )


def test_the_chat_messages_of_another_framework_are_shown(run: Command, store: Path) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "trains", "arguments": '{"to": "Wien"}'}
    values: list[Any] = [{"role": "user", "content": "Which train?"}, call, {"beginning": 1}]
    JsonStorage(store).append_items("s1", [Item(value, "openai-agents") for value in values])
    lines = run("show", "s1", "--store", store).stdout.splitlines()
    assert lines[lines.index("  user") + 1] == "    Which train?"
    assert '    calls trains({"to": "Wien"})' in lines
    assert '  data  {"beginning": 1}' in lines
    assert run("show", "s1", "--messages", "--store", store).stdout == "user\n  Which train?\n"
    assert run("show", "s1", "--tools", "--store", store).stdout.split() == [
        "assistant",
        "calls",
        'trains({"to":',
        '"Wien"})',
    ]
