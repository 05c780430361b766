"""A store that a real process writes to while its pages are open, and one whose sessions are hostile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from localstore import JsonStorage, Message, Run
from localstore.models.session import ContentPart, ToolCall
from tests.effort import ci_only

from .conftest import Open, serving

pytestmark = ci_only
WRITER = """
import sys
from localstore import JsonStorage, Message, Run
storage = JsonStorage(sys.argv[1])
for line in sys.stdin:
    run_id, status, answer = line.rstrip("\\n").split("|")
    messages = [Message(role="user", content="And now?"), Message(role="assistant", content=answer)]
    storage.append("live", Run(run_id=run_id, messages=messages, status=status))
    print("stored", flush=True)
"""


def test_an_open_session_grows_while_another_process_writes(opened: Open, tmp_path: Path) -> None:
    """The answer appears while it is written, the place on the page stays, and what was unfolded stays so."""
    store = tmp_path / "store"
    with JsonStorage(store) as storage:
        for number in range(8):
            text = "\n\n".join(["Line"] * 12)
            said = [Message(role="user", content=f"Q{number}"), Message(role="assistant", content=text)]
            storage.append("live", Run(run_id=f"old-{number}", messages=said))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def write(line: str) -> None:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(f"{line}\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "stored\n"

    with writer, serving(store) as address:
        page = opened(address, "/session?id=live")
        page.evaluate("scrollTo(0, 300)")
        write("new|unfinished|It **gro")
        expect(page.locator("#run-new")).to_contain_text("It **gro")
        expect(page.locator("#run-list li").last).to_contain_text("And now?")
        write("new|unfinished|It **grows** and")
        expect(page.locator("#run-new strong")).to_have_text("grows")
        write("new|completed|It **grows** and ends.")
        expect(page.locator("#run-new")).to_contain_text("and ends.")
        expect(page.locator("#run-new .unfinished")).to_have_count(0)
        assert page.evaluate("scrollY") == 300
        expect(page.locator("#history > .run")).to_have_count(9)
        with JsonStorage(store) as storage:
            storage.trash("live")
        expect(page.locator("#live")).to_have_text("The session was deleted.")
        page.reload()
        expect(page.get_by_text("There is no session 'live'.")).to_be_visible()
        assert writer.stdin is not None
        writer.stdin.close()


def test_the_list_follows_what_is_written(opened: Open, tmp_path: Path) -> None:
    with JsonStorage(tmp_path / "store") as storage, serving(storage.root) as address:
        storage.append("first", Run())
        page = opened(address)
        expect(page.locator("tr.session")).to_have_count(1)
        storage.append("second", Run())
        expect(page.locator("tr.session")).to_have_count(2)


def test_broken_and_upgraded_documents_are_pages_that_say_so(opened: Open, tmp_path: Path) -> None:
    with JsonStorage(tmp_path / "store") as storage, serving(storage.root) as address:
        storage.append("torn", Run())
        storage.append("newer", Run())
        page = opened(address, "/session?id=torn")
        path = storage.path("torn")
        path.write_text(path.read_text()[:-40])
        newer = storage.path("newer")
        newer.write_text(newer.read_text().replace('"schema_version": 1', '"schema_version": 99'))
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("torn")
        page.goto(address.partition("/?")[0] + "/session?id=newer")
        expect(page.get_by_role("alert")).to_contain_text("99")
        page.goto(address.partition("/?")[0] + "/")
        expect(page.locator("tr.session")).to_have_count(2)
        page.get_by_role("link", name="Problems").click()
        expect(page.locator(".problems")).to_contain_text("torn.json")


ATTACKS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload="window.hacked=1">',
    "' onmouseover='window.hacked=1",
    "[link](javascript:window.hacked=1) ![i](http://attacker.invalid/i.png) <http://attacker.invalid>",
    '<div hx-get="http://attacker.invalid/x" hx-trigger="load" hx-on:load="window.hacked=1">x</div>',
    '```html\n<script>window.hacked=1</script>\n```\n```"><script>window.hacked=1</script>\nx\n```',
    "</title></style></textarea><script>window.hacked=1</script>",
    "<meta http-equiv=refresh content='0;url=http://attacker.invalid'><base href=http://attacker.invalid>",
    "\u202eevil\x1b[2J\x00",
)


def hostile_session(storage: JsonStorage, number: int, attack: str) -> str:
    """Store a session that has an attack wherever a text may be, and return its id."""
    session_id = f"{number}{attack}".replace("\x00", "")
    parts = [
        ContentPart(type="text", text=attack),
        ContentPart(type="image", url="http://attacker.invalid/i.png", mime_type=attack),
        ContentPart(type="image", url="data:image/svg+xml,<svg onload=window.hacked=1>"),
        ContentPart(type="image", url='data:image/png;base64,AAAA" onerror="window.hacked=1'),
        ContentPart(type="file", path="/etc/passwd"),
        ContentPart(type=attack, url="javascript:window.hacked=1"),
    ]
    call = ToolCall(id=attack, name=attack, arguments={attack: attack})
    messages = [
        Message(role="user", content=parts, name=attack),
        Message(role="assistant", content=attack, tool_calls=[call]),
        Message(role="tool", tool_call_id=attack, content=attack),
    ]
    state = {attack: attack}
    run = Run(run_id=attack, messages=messages, model=attack, error=attack, status="error", session_state=state)
    storage.append(session_id, run, user_id=attack, entity_id=attack)
    storage.rate(session_id, attack, "bad", attack)
    storage.update(session_id, name=f"{attack} named", tags=[attack], metadata={attack: attack}, session_summary=attack)
    return session_id


@pytest.mark.parametrize("scheme", ["light"])
def test_nothing_in_a_session_runs_or_is_fetched(opened: Open, tmp_path: Path, scheme: str) -> None:
    """No attack sets a flag, asks another server, or becomes an element or a link of a kind that is not known."""
    with JsonStorage(tmp_path / "store") as storage, serving(storage.root) as address:
        ids = [hostile_session(storage, number, attack) for number, attack in enumerate(ATTACKS)]
        page = opened(address, scheme=scheme)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: dialog.dismiss())
        base = address.partition("/?")[0]
        pages = ["/", "/?q=hacked", "/dashboard", "/problems?check=all", "/?user=%3Cscript%3E", "/?q=%3Cscript%3E"]
        for path in pages:
            page.goto(base + path)
            _judge(page.evaluate(_JUDGE))
        for session_id in ids:
            for kind in ("session", "raw"):
                page.goto(f"{base}/{kind}?" + page.evaluate("id => new URLSearchParams({id}).toString()", session_id))
                page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                page.evaluate("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
                _judge(page.evaluate(_JUDGE))
        with JsonStorage(storage.root) as other:  # and the same while the page is open
            other.append(ids[1], Run(messages=[Message(role="assistant", content=ATTACKS[1])], run_id="late"))
        page.goto(f"{base}/session?" + page.evaluate("id => new URLSearchParams({id}).toString()", ids[1]))
        with JsonStorage(storage.root) as other:
            other.append(ids[1], Run(messages=[Message(role="user", content=ATTACKS[1])], run_id="later"))
        expect(page.locator("#run-later")).to_be_attached()
        _judge(page.evaluate(_JUDGE))
        assert all(url.startswith((base, "data:image/png;base64,")) for url in asked), asked


_JUDGE = """() => ({
  hacked: window.hacked ?? null,
  scripts: [...document.scripts].map((one) => one.getAttribute("src")),
  handlers: [...document.querySelectorAll("*")].flatMap((one) => one.getAttributeNames())
    .filter((name) => name.startsWith("on") || name.startsWith("hx-on") || name === "style"),
  links: [...document.links].map((one) => one.protocol),
  fetched: [...document.querySelectorAll("[hx-get]")].map((one) => one.getAttribute("hx-get")),
  bases: document.querySelectorAll("base, meta[http-equiv=refresh], iframe, object, embed").length,
})"""


def _judge(found: dict[str, object]) -> None:
    scripts, links, fetched = found["scripts"], found["links"], found["fetched"]
    assert isinstance(scripts, list)
    assert isinstance(links, list)
    assert isinstance(fetched, list)
    assert found["hacked"] is None
    assert scripts == ["/static/htmx.min.js", "/static/viewer.js"]
    assert found["handlers"] == []
    assert set(links) <= {"http:", "https:", "mailto:"}
    assert all(str(address).startswith("/") for address in fetched)
    assert found["bases"] == 0
