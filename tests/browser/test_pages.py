"""Each page and each action, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from localstore import JsonStorage, Session
from tests.effort import ci_only

from .conftest import Open

pytestmark = ci_only
PATHS = {
    "sessions": "/",
    "search": "/?q=train",
    "session": "/session?id=trip",
    "team": "/session?id=team",
    "dashboard": "/dashboard",
    "compare": "/compare?id=fork&to=trip",
    "problems": "/problems?check=all",
    "raw": "/raw?id=trip",
    "error": "/session?id=nowhere",
}


def read(store: Path, session_id: str) -> Session:
    with JsonStorage(store) as storage:
        session = storage.read(session_id)
    assert session is not None
    return session


def test_the_pages_fit_every_screen_and_have_no_barriers(opened: Open, address: str) -> None:
    """axe-core finds nothing, in light and dark, and nothing is wider than a phone or lost on a large screen."""
    page, axe = opened(address), Axe()
    for name, path in PATHS.items():
        page.goto(address.partition("/?")[0] + path)
        for width in (360, 2560, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, width)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found = axe.run(page)
        assert found.violations_count == 0, (name, found.generate_report())
        page.emulate_media(color_scheme="dark")
        found = axe.run(page, options={"runOnly": ["color-contrast"]})
        assert found.violations_count == 0, (name, found.generate_report())
        page.emulate_media(color_scheme="light")


def test_the_list_is_searched_while_typing_and_filtered(opened: Open, address: str) -> None:
    page = opened(address)
    expect(page.locator("tr.session")).to_have_count(50)
    page.locator("tr.more").scroll_into_view_if_needed()
    expect(page.locator("tr.session")).to_have_count(69)
    page.locator("#q").press_sequentially("questi")
    expect(page.locator(".hits mark").first).to_have_text("Question")
    assert "q=questi" in page.url
    page.locator("#q").fill("")
    page.get_by_label("Last run").select_option("error")
    expect(page.locator("tr.session")).to_have_count(6)
    page.get_by_text("More filters").click()
    page.get_by_label("User").fill("alice")
    expect(page.locator("tr.session")).to_have_count(3)
    page.get_by_label("Active since").fill("soon")
    expect(page.get_by_role("alert")).to_contain_text("since is not a time")


def test_a_session_shows_its_runs_calls_members_and_state(opened: Open, address: str) -> None:
    page = opened(address, "/session?id=trip")
    expect(page.get_by_role("heading", name="The trip one")).to_be_visible()
    expect(page.locator("#history strong").first).to_have_text("RJX 1")
    expect(page.locator("code .nb").first).to_have_text("print")
    expect(page.locator("summary", has_text="timetable").first).to_contain_text('"to": "Linz"')
    expect(page.locator("summary", has_text="budget added")).to_be_visible()
    expect(page.locator("#run-list li")).to_have_count(3)
    page.goto(page.url.replace("trip", "team"))
    expect(page.locator("summary", has_text="Member timetable-agent").locator(".bar")).to_be_attached()


def test_a_long_session_is_loaded_from_its_end(opened: Open, address: str) -> None:
    page = opened(address, "/session?id=long")
    expect(page.locator("#run-list li")).to_have_count(20)
    expect(page.locator("#history > .run").first).to_contain_text("Run 131")
    page.get_by_role("link", name="100 earlier runs").click()
    expect(page.locator("#run-list li")).to_have_count(120)
    expect(page.locator("#history > .run").first).to_contain_text("Run 31")
    page.get_by_role("link", name="30 earlier runs").click()
    expect(page.locator("#history > .run")).to_have_count(150)
    expect(page.locator("#run-list li").first).to_contain_text("Question 1:")
    page.goto(page.url.split("/session")[0] + "/run?id=long&run=r40")
    expect(page.locator("#run-r40")).to_be_in_viewport()


def test_a_run_is_rated_by_keyboard_alone(opened: Open, address: str, filled: Path) -> None:
    page = opened(address)
    page.keyboard.press("/")
    page.keyboard.type("rated")
    page.wait_for_url(re.compile(r"q=rated(&|$)"))  # that of the last letter
    expect(page.locator(".hits > li")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The rated one")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.keyboard.type("on time")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The rating is stored.")).to_be_visible()
    run = read(filled, "rated").runs[1]
    assert (run.rating, run.rating_note) == ("good", "on time")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(page.locator("tr.session").first).to_be_visible()


def _change(page: Page) -> None:
    page.get_by_text("Change", exact=True).click()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_session_is_renamed_tagged_archived_and_edited(
    opened: Open, address: str, filled: Path, scripts: bool
) -> None:
    session_id = "named" if scripts else "plain"
    page = opened(address, f"/session?id={session_id}", scripts=scripts)
    name = f"Named {'with' if scripts else 'without'} scripts"
    _change(page)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    _change(page)
    page.get_by_label("Tag", exact=True).fill("urgent")
    page.get_by_role("button", name="Add the tag").click()
    _change(page)
    page.get_by_role("button", name="Remove the tag travel").click()
    page.get_by_text("Edit the state").click()
    page.get_by_label("State, as a JSON object").fill("{1}")
    page.get_by_role("button", name="Save the state").click()
    expect(page.get_by_role("alert")).to_contain_text("is not JSON")
    expect(page.get_by_label("State, as a JSON object")).to_have_value("{1}")
    page.get_by_label("State, as a JSON object").fill(f'{{"cart": [], "by": "{name}"}}')
    page.get_by_role("button", name="Save the state").click()
    expect(page.get_by_text("The state is stored.")).to_be_visible()
    session = read(filled, session_id)
    assert (session.name, session.session_state) == (name, {"cart": [], "by": name})
    assert "urgent" in session.tags
    assert "travel" not in session.tags


def test_a_state_that_was_changed_meanwhile_is_not_replaced(opened: Open, address: str, filled: Path) -> None:
    page = opened(address, "/session?id=kept")
    page.get_by_text("Edit the state").click()
    with JsonStorage(filled) as storage:
        storage.update("kept", session_state={"cart": ["WB 914"]})
    page.get_by_label("State, as a JSON object").fill('{"cart": []}')
    page.get_by_role("button", name="Save the state").click()
    expect(page.get_by_role("alert")).to_contain_text("changed meanwhile")
    assert read(filled, "kept").session_state == {"cart": ["WB 914"]}
    page.get_by_role("button", name="Save the state").click()
    expect(page.get_by_text("The state is stored.")).to_be_visible()


def test_chosen_sessions_are_exported_archived_and_removed_with_undo(
    opened: Open, address: str, filled: Path, tmp_path: Path
) -> None:
    page = opened(address, "/?user=bob&sort=created")
    boxes = page.locator("tr.session").get_by_role("checkbox")
    chosen = [boxes.nth(at).get_attribute("value") for at in (1, 2)]
    for at in (1, 2):
        boxes.nth(at).check()
    page.get_by_label("Format").select_option("json")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "out.json")
    assert [one["session_id"] for one in json.loads((tmp_path / "out.json").read_text())] == chosen
    page.get_by_role("button", name="Move to the trash").click()
    expect(page.get_by_text("2 sessions are in the trash.")).to_be_visible()
    with JsonStorage(filled) as storage:
        assert not [one for one in chosen if one in storage]
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text("The session is back.")).to_be_visible()
        assert all(one in storage for one in chosen)
    page.goto(address.partition("/?")[0] + "/?user=bob&sort=created")
    page.locator("tr.session").get_by_role("checkbox").nth(1).check()
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_text("Archived.", exact=True)).to_be_visible()
    with JsonStorage(filled) as storage:
        assert "archived" in storage.find_sessions(str(chosen[0]))[0].tags
        storage.unarchive(str(chosen[0]))


def test_the_dashboard_is_readable_as_tables(opened: Open, address: str) -> None:
    page = opened(address, "/dashboard")
    expect(page.locator(".chart svg").first).to_be_visible()
    page.get_by_text("As a table").first.click()
    expect(page.locator(".chart table").first).to_be_visible()
    expect(page.locator("table.numbers", has_text="gpt-4o-mini")).to_be_visible()
    page.get_by_label("Active since").fill("2h")
    expect(page.locator(".tiles")).to_contain_text("Sessions")


def test_a_fork_stands_beside_its_origin(opened: Open, address: str) -> None:
    page = opened(address, "/session?id=fork")
    page.get_by_role("link", name="Compare with its origin").click()
    expect(page.get_by_text("2 runs are the same in both.")).to_be_visible()
    expect(page.get_by_text("only on the left")).to_be_visible()
    expect(page.get_by_text("only on the right")).to_be_visible()


def test_without_scripts_the_list_goes_on(opened: Open, address: str) -> None:
    page = opened(address, scripts=False)
    page.locator("#q").fill("question")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".hits mark").first).to_have_text("Question")
    page.goto(address.partition("/?")[0] + "/")
    page.get_by_role("link", name="More sessions").click()
    assert page.locator("tr.session").count() > 10


def test_printing_shows_the_conversation_alone(opened: Open, address: str) -> None:
    page = opened(address, "/session?id=trip")
    page.emulate_media(media="print")
    expect(page.locator(".top")).to_be_hidden()
    expect(page.locator("nav.runs")).to_be_hidden()
    expect(page.locator("#history strong").first).to_be_visible()
