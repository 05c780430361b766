"""The pages as files, opened from the disk."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from localstore import JsonStorage
from localstore.models.filter import Filter
from localstore.viewer.counting import count_figures
from localstore.viewer.site import write_site
from tests.effort import ci_only

from .conftest import Open

pytestmark = ci_only


def test_a_site_is_searched_and_read_from_the_disk(opened: Open, filled: Path, tmp_path: Path) -> None:
    with JsonStorage(filled) as storage:
        sessions = storage.export("html").sessions()
        write_site(sessions, tmp_path / "site", "my sessions", count_figures(storage, Filter()))
    page = opened((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("tr.session").count() >= 66
    page.locator("#q").fill("question 142")
    expect(page.locator(".hits mark").first).to_have_text("Question")
    page.get_by_role("link", name="Run").first.click()
    expect(page.locator("#run-r142")).to_be_in_viewport()
    assert page.evaluate("getComputedStyle(document.querySelector('.content')).maxWidth") == "864px"
    page.get_by_role("link", name="bob").click()
    expect(page.locator("#q")).to_have_value("bob")
    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator(".chart svg").first).to_be_visible()
