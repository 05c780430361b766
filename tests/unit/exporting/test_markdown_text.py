"""Sessions as Markdown, checked with a Markdown parser."""

import re
from typing import Any

from hypothesis import example, given, settings
from markdown_it import MarkdownIt

from localstore import Session, Step, ToolCall
from localstore.exporting import markdown_text
from tests.effort import rounds
from tests.unit.exporting.conversations import HOSTILE, assistant, full, run, session, texts, tool, user

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def text_of(*sessions: Session) -> str:
    return "".join(markdown_text(sessions))


def outline(text: str) -> list[tuple[str, str]]:
    """Return the elements at the top level: headings with their visible text, and the kinds of the others."""
    found = []
    tokens = PARSER.parse(text)
    for at, token in enumerate(tokens):
        if token.level == 0 and token.nesting >= 0:
            found.append(
                (token.tag or token.type, seen(tokens[at + 1]) if token.type.endswith("_open") else token.content)
            )
    return found


def seen(token: Any) -> str:
    """Return the visible text of an inline token."""
    breaks = {"softbreak": "\n", "hardbreak": "\n"}
    return "".join(breaks.get(child.type, child.content) for child in token.children or ())


def test_a_session_reads_well() -> None:
    text = text_of(full())
    assert text.startswith(
        "# Trip to Vienna\n\n"
        "s1 · agent guide · user alice · began 2026-11-22 07:01:20 UTC · 4 runs · tags travel\n\n"
        "## Run 1\n\n"
        "2026-11-22 07:01:20 UTC · gpt-4o-mini · tokens 1,312 in, 12 out · 0.8 s · rated good: on time\n\n"
        "**User**\n\n> Which train?\n\n"
        "**Assistant**\n\n> Let me look.\n\n"
        '**Tool call** `look`\n\n```json\n{"to": "Vienna"}\n```\n\nAnswer:\n\n```json\n{"train": "RJ 63"}\n```\n\n'
        "**Assistant**\n\n> The **one** at 7:58.\n>\n> # See\n>\n> [a link](https://example.org)\n\n"
        "## Run 2 (failed)\n\n"
    )
    for part in (
        "> [image (image/png)](https://example.org/a%20cat.png)\n\n> image, embedded\n\n> file: notes.pdf\n\n",
        "**Error**\n\n```\nno connection\n```\n\n## Run 3\n\n",
        "### Step write\n\n",
        "### Member scout (cancelled)\n\n",
        "\n\n> All is said.\n\n",
        "## Run 4 (unfinished)\n\n",
    ):
        assert part in text
    assert text.endswith("> And back?\n")


def test_no_session_gives_no_text_and_several_are_separated() -> None:
    assert text_of() == ""
    text = text_of(session(), session(session_id="s2"))
    assert "\n\n---\n\n# s2\n" in text


def test_a_fence_is_longer_than_any_in_it() -> None:
    call = ToolCall(id="c", name="a`b", arguments="```\n`````\n")
    text = text_of(session(run("r", user("x"), assistant(None, call), tool("c", "~~~ ````"))))
    assert "``````json\n```\n`````\n``````\n" in text
    assert "`````\n~~~ ````\n`````" in text
    assert "**Tool call** `` a`b ``" in text


def test_typed_text_is_shown_as_typed() -> None:
    typed = "1. *one*\n# two\nsnake_case and _this_\n- three\n&amp; <b> [x](y)\n\n---"
    text = text_of(session(run("r", user(typed))))
    quoted = PARSER.parse(text)
    inline = [token for token in quoted if token.type == "inline" and token.level > 1]
    assert "\n\n".join(map(seen, inline)) == typed
    assert "snake_case and" in text


def test_indented_text_keeps_its_indentation() -> None:
    text = text_of(session(run("r", user("def f():\n    return 1\n```"))))
    assert "> ````\n> def f():\n>     return 1\n> ```\n> ````" in text


@settings(max_examples=rounds(40, 150, 3000), deadline=None)
@given(texts, texts, texts)
@example(HOSTILE, HOSTILE, HOSTILE)
@example("", "", " #")
@example("", "", " ###")
def test_nothing_breaks_the_structure(asked: str, said: str, name: str) -> None:
    """With any text, only the session and its runs have headings, and the speakers keep their order."""
    one = session(run("r1", user(asked), assistant(said)), run("r2", user("end"), error=asked or None), name=f"n{name}")
    found = outline(text_of(one))
    name = " ".join(f"n{name}".replace("\x00", "\u2400").replace("\x1b", "\u241b").split())
    headings = [(tag, text) for tag, text in found if re.match(r"h\d", tag)]
    assert headings == [("h1", name), ("h2", "Run 1"), ("h2", "Run 2")]
    assert not [tag for tag, _ in found if tag in ("html_block", "table", "ul", "ol")]
    speakers = [text for tag, text in found if tag == "p" and text in ("User", "Assistant", "Error")]
    assert speakers == ["User", "Assistant", "User", *(["Error"] if asked else [])]


@settings(max_examples=rounds(30, 100, 2000), deadline=None)
@given(texts)
def test_a_question_is_shown_as_it_was_typed(asked: str) -> None:
    text = text_of(session(run("r", user(asked))))
    tokens = PARSER.parse(text)
    body = [token for token in tokens if token.type in ("inline", "fence") and token.level > (token.type == "inline")]
    shown = " ".join(seen(token) if token.type == "inline" else token.content for token in body)
    assert shown.split() == asked.replace("\x00", "\u2400").split()


def test_steps_show_their_place_and_their_question() -> None:
    """Covers steps in a loop and in a parallel, a waiting one, and one that a team did."""
    said = [user("go"), assistant("gone")]
    steps = [
        Step(name="write", within=["draft[2]"], output="text", status="completed"),
        Step(name="team", messages=said, member_runs=[run("m", *said, agent_id="ann")], output="gone"),
        Step(name="send", question="Send it?", status="waiting"),
    ]
    text = "".join(markdown_text([session(run("r", steps=steps, input="x", status="unfinished"))]))
    assert "### Step draft\\[2\\] / write\n" in text
    assert "#### Member ann\n" in text
    assert "### Step send (waiting)\n" in text
    assert "> Send it?\n" in text


def test_the_output_of_a_workflow_is_shown_as_its_answer() -> None:
    text = text_of(session(run("r", steps=[Step(name="a", output="x")], output="x")))
    assert text.endswith("**Assistant**\n\n> x\n")
