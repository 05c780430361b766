"""The HTML page shows everything, and nothing in it can run or load anything."""

import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings

from localstore import ContentPart, Message, Session, ToolCall
from localstore.exporting import html_page
from localstore.exporting.html_run import Anchors
from localstore.exporting.html_style import STYLE
from localstore.models.fields import DocumentText
from tests.effort import rounds
from tests.unit.exporting.conversations import HOSTILE, assistant, full, run, session, texts, tool, user

VOID = {"meta", "br", "hr"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "nav", "section", "article", "div", "p", "span", "bdi"),
    *("small", "h1", "h2", "h4", "h5", "h6", "a", "ol", "ul", "li", "details", "summary", "code", "pre", "br", "hr"),
    *("blockquote", "em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    *("charset", "http-equiv", "content", "name", "lang", "class", "id", "href", "rel", "dir", "aria-label", "start"),
    "title",
}


class Page(HTMLParser):
    """Parses the page as a browser does, and refuses elements that it may not have."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)
        for link in self.links:
            assert link.startswith(("https://", "http://", "mailto:")) or (link[0] == "#" and link[1:] in self.ids), (
                link
            )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        self.tags.append(tag)
        for name, value in attrs:
            assert name in ATTRIBUTES, name
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def page(*sessions: Session) -> Page:
    return Page("".join(html_page(sessions)))


def test_everything_of_a_session_is_shown() -> None:
    """The page shows speakers, texts, tools, costs, statuses and ratings."""
    shown = page(full())
    for part in (
        *(
            "Trip to Vienna",
            "agent guide",
            "user alice",
            "4 runs",
            "tags travel",
            "gpt-4o-mini",
            "tokens 1,312 in, 12 out",
        ),
        *("0.8 s", "2026-11-22 07:01:20 UTC", "rated good", "on time", "rated bad", "Be brief.", "Which train?"),
        *(
            "look",
            '"to": "Vienna"',
            '{"train": "RJ 63"}',
            "at 7:58.",
            "failed",
            "no connection",
            "[image (image/png)"[1:],
        ),
        *("image, embedded", "file: notes.pdf", "Update", "Member scout", "cancelled", "I looked.", "Step write"),
        *('"a": 1', "Hm.", '"topic": "trains"', "All is said.", "unfinished", "There is no answer yet."),
    ):
        assert part in shown.text, part
    assert "https://example.org" in shown.links
    assert [link for link in shown.links if link.startswith("#")] == [
        "#run-r1",
        "#run-r2",
        "#run-r3",
        "#run-m1",
        "#run-r4",
    ]
    assert shown.tags.count("h1") == 1


def test_a_tool_result_is_folded_with_its_call() -> None:
    text = "".join(html_page([full()]))
    call = re.search(r'<details class="call">.*?</details>', text, re.DOTALL)
    assert call is not None
    assert "RJ 63" in call[0]
    assert "<summary><code>look</code>" in call[0]
    unanswered = session(run("r1", user("hi"), assistant(None, ToolCall(id="c", name="f")), tool("other", "lost")))
    shown = page(unanswered)
    assert "No answer" in shown.text
    assert "lost" in shown.text


def test_several_sessions_have_a_table_of_contents() -> None:
    """Runs and sessions with the same name have different anchors."""
    shown = page(full(), full(), session(session_id="a b"))
    assert [link for link in shown.links if "#session" in link] == ["#session-s1", "#session-s1-2", "#session-a_b"]
    assert {"run-r1", "run-r1-2"} <= set(shown.ids)
    assert "3 sessions" in shown.text
    assert "Nothing happened in this session yet." in shown.text


def test_the_contents_have_the_first_question_of_a_session_without_a_name() -> None:
    """They had ids alone, which say nothing."""
    asked = session(run("r1", user("Which\n<b>train</b>?"), assistant("The 7:58.")), session_id="s1")
    pages = [html_page([asked, asked]), html_page([asked])]
    for text in map("".join, pages):
        assert "<bdi>Which &lt;b&gt;train&lt;/b&gt;?</bdi>" in text.partition("<section")[0] + text.partition("<h1>")[2]
        assert "<span><bdi>s1</bdi></span>" in text


def test_a_page_without_sessions_is_valid() -> None:
    assert "No sessions" in page().text


def test_the_page_needs_no_network_and_may_not_use_it() -> None:
    """The policy allows only the page's own style. The page adapts to dark mode, narrow screens and print."""
    import base64
    import hashlib

    text = "".join(html_page([full()]))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert not re.search(r"src=|url\(|@import|<link|<script", text)
    for part in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark"):
        assert part in STYLE


def test_hostile_text_stays_text_everywhere() -> None:
    call = ToolCall(id=HOSTILE, name=HOSTILE, arguments={HOSTILE: HOSTILE})
    word: Any = DocumentText(HOSTILE)
    parts = [ContentPart(type=HOSTILE, url=HOSTILE), ContentPart(type="file", path=HOSTILE, mime_type=HOSTILE)]
    one = session(
        run(
            HOSTILE,
            user(HOSTILE),
            assistant(HOSTILE, call),
            tool(HOSTILE, HOSTILE),
            Message(role="user", content=parts),
            Message(role=word, name=HOSTILE, content=HOSTILE),
            model=HOSTILE,
            error=HOSTILE,
            status=word,
            rating=word,
            rating_note=HOSTILE,
            instructions=HOSTILE,
            session_state={HOSTILE: HOSTILE},
        ),
        session_id=HOSTILE,
        name=HOSTILE,
        tags=[HOSTILE],
        user_id=HOSTILE,
        agent_id=HOSTILE,
        metadata={HOSTILE: HOSTILE},
    )
    text = "".join(html_page([one, one]))
    shown = Page(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)
    assert "<script>alert(1)</script>" in shown.text
    assert "\u2400\u241b[31m" in shown.text
    assert all(link.startswith(("#", "http://example.org/z.png")) for link in shown.links)


def test_markdown_of_a_model_is_rendered_without_its_html() -> None:
    said = (
        "# Title\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n[![i](http://e.org/i.png)](https://e.org) <b>x</b>\n\n"
        "[m](mailto:a@b.c) [j](JavaScript:x) [r](/etc) [f](file:///x)\n\n```py\nx < 1\n```\n"
    )
    text = "".join(html_page([session(run("r", user("*as typed*"), assistant(said)))]))
    assert '<div class="typed" dir="auto" lang="">*as typed*</div>' in text
    assert "<h4>Title</h4>" in text
    assert '<td class="center">1</td>' in text
    assert '<td class="right">2</td>' in text
    assert '<a href="https://e.org" rel="noopener noreferrer">[image: i]</a>' in text
    assert '<a href="mailto:a@b.c"' in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert '<span class="n">x</span> <span class="o">&lt;</span> <span class="mi">1</span>' in text
    for link in ("javascript:", "/etc", "file:"):
        assert f'href="{link}' not in text.lower()


@settings(max_examples=rounds(30, 150, 1500), deadline=None)
@given(texts, texts, texts)
def test_nothing_breaks_out_of_the_page(asked: str, said: str, name: str) -> None:
    one = session(run(name, user(asked), assistant(said), error=asked or None), name=name or None)
    shown = page(one)
    typed = asked.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\u2400").strip("\n")
    assert typed in shown.text


def test_anchors_of_equal_names_are_numbered_and_unique() -> None:
    """Each new anchor was searched for from the first number on: a page of many sessions took quadratic time."""
    anchors = Anchors()
    names = ["a", "a", "a-2", "a", "b", "a-2", "a-4", "a"]
    made = [anchors.new("run", name) for name in names]
    assert made == ["run-a", "run-a-2", "run-a-2-2", "run-a-3", "run-b", "run-a-2-3", "run-a-4", "run-a-5"]
