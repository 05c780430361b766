"""Sessions for the tests of the exports: one with every field, and texts that try to break out of the markup."""

from typing import Any

from hypothesis import strategies as st

from localstore import ContentPart, Message, Metrics, Run, Session, Step, ToolCall, Update
from localstore.models.session import Entry

BEGAN = "2026-11-22T07:01:20.123Z"


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str | None, *calls: ToolCall) -> Message:
    return Message(role="assistant", content=text, tool_calls=list(calls) or None)


def tool(call_id: str, text: str) -> Message:
    return Message(role="tool", tool_call_id=call_id, content=text)


def run(run_id: str, *messages: Message, **fields: Any) -> Run:
    return Run(run_id=run_id, created_at=BEGAN, messages=list(messages), **fields)


def session(*entries: Run | Update | Entry, session_id: str = "s1", **fields: Any) -> Session:
    return Session(session_id=session_id, created_at=BEGAN, history=list(entries), **fields)


def full() -> Session:
    """Return a session with everything that an export shows."""
    picture = [
        ContentPart(type="text", text="What is it?"),
        ContentPart(type="image", url="https://example.org/a cat.png", mime_type="image/png"),
        ContentPart(type="image", url="data:image/png;base64,AAAA"),
        ContentPart(type="file", path="notes.pdf"),
        ContentPart(type="image", url="javascript:alert(1)"),
    ]
    return session(
        run(
            "r1",
            user("Which train?"),
            assistant("Let me look.", ToolCall(id="c1", name="look", arguments={"to": "Vienna"})),
            tool("c1", '{"train": "RJ 63"}'),
            assistant("The **one** at 7:58.\n\n# See\n\n[a link](https://example.org)"),
            model="gpt-4o-mini",
            metrics=Metrics(input_tokens=1312, output_tokens=12, duration_seconds=0.84),
            instructions="Be brief.",
            session_state={"visited": ["Vienna"]},
            rating="good",
            rating_note="on time",
        ),
        run("r2", Message(role="user", content=picture), error="no connection", status="error"),
        Update(created_at=BEGAN, session_state={"visited": []}),
        run(
            "r3",
            member_runs=[run("m1", user("Look!"), assistant("I looked."), agent_id="scout", status="cancelled")],
            steps=[
                Step(name="write", created_at=BEGAN, output={"a": 1}),
                Step(name="say", created_at=BEGAN, output="Hm."),
            ],
            input={"topic": "trains"},
            content="All is said.",
            rating="bad",
        ),
        run("r4", user("And back?"), status="unfinished"),
        agent_id="guide",
        user_id="alice",
        name="Trip to Vienna",
        tags=["travel"],
    )


HOSTILE = (
    '<script>alert(1)</script> "><img src=x onerror=alert(1)> \x00\x1b[31m \u202eevil\n\n```\n~~~\n# no heading\n'
    "--\n===\n[x]: javascript:alert(1)\n[x] [y](javascript:alert(1)) ![z](http://example.org/z.png)\n</details></section>\n"
    "<!-- \n- [ ] a\n1. b\n> c\n\td\n | e | f |\n|-|-|\n&lt; &#60; \\<b> `co``de` " + "W" * 500
)

markup = st.text(st.sampled_from(list("ab \n\t#>-+=*_`~|[](){}<>!&;:\\/.'\"0123\x00\r\u2028\u202eע")), max_size=40)
words = st.sampled_from(
    ["# x", "---", "===", "```", "~~~", "<div>", "<!--", "</bdi>", "<script>", "1. ", "- ", "> ", "    ", "\n", "\n\n",
     "[a](javascript:x)", "![i](http://e.org/i)", "[a]: http://e.org", "<http://e.org>", "|a|\n|-|\n|b|", "&amp;", "**",
     "http://e.org", "word", "\\", '"', "'>", "<a href='javascript:1'>", "\t", "`` ` ``"]
)  # fmt: skip
texts = st.lists(words | markup, max_size=6).map("".join)
"""Texts that look like markup."""
