"""What the pages show and change, asked without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from localstore import JsonStorage, Run
from localstore.databases.sql import SqliteStorage
from localstore.models.filter import Filter
from localstore.storage.contract import SessionStorage
from localstore.storage.items import Item
from localstore.viewer import app, reading
from localstore.viewer.counting import Counting, Remembered
from localstore.viewer.filters import read_query
from localstore.viewer.reading import read_part
from localstore.viewer.session_page import FIRST, MORE
from localstore.viewer.site import write_site

from .conftest import answered


def rows(page: str) -> list[str]:
    """Return the ids of the sessions that a page lists."""
    return re.findall(r'class="open" href="/session\?id=([^"]+)"', page)


@pytest.mark.parametrize(
    "make", [JsonStorage, lambda folder: SqliteStorage(db_file=folder / "sessions.db")], ids=["folder", "database"]
)
def test_every_page_works_on_every_kind_of_storage(tmp_path: Path, make: Callable[[Path], SessionStorage]) -> None:
    with make(tmp_path) as storage:
        storage.append("trip", answered("Which train?", "The **7:58**.", "r1"), user_id="alice")
        storage.append_items("chat", [Item({"role": "user", "content": "An item"}, source="other")])
        fork = storage.fork("trip", "r1")
        client = TestClient(app(storage), base_url="http://localhost")
        assert set(rows(client.get("/").text)) == {"trip", "chat", fork}
        assert "<strong>7:58</strong>" in client.get("/session?id=trip").text
        assert '<p class="who"><bdi>User</bdi></p>' in client.get("/session?id=chat").text
        for path in ("/dashboard", "/problems?check=all", f"/compare?id={fork}&to=trip", "/raw?id=trip", "/?q=train"):
            assert client.get(path).status_code == 200, path
        assert client.get("/spark.svg?id=trip").headers["content-type"] == "image/svg+xml"


def test_a_session_leads_to_its_sub_sessions(client: TestClient, storage: JsonStorage) -> None:
    """The list that the link opens was empty."""
    storage.append_items("trip/hotel", [Item({"role": "user", "content": "Which?"}, source="other")], part_of="trip")
    page = client.get("/session?id=trip").text
    assert '<a href="/?part_of=trip">1 sub-session</a>' in page
    assert rows(client.get("/?part_of=trip").text) == ["trip%2Fhotel"]
    assert set(rows(client.get("/").text)) == {"trip", "tea"}


def test_the_filter_is_that_of_the_command_line(client: TestClient) -> None:
    assert rows(client.get("/?user=alice").text) == ["trip"]
    assert rows(client.get("/?status=error").text) == ["tea"]
    assert rows(client.get("/?tag=travel&since=1d").text) == ["trip"]
    answer = client.get("/?since=soon")
    assert answer.status_code == 400
    assert "since is not a time" in answer.text


def test_the_list_goes_on_in_every_order(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path)
    for number in range(53):
        storage.append(f"s{number}", Run())
    client = TestClient(app(storage), base_url="http://localhost")
    for sort in ("updated", "name"):
        first = client.get(f"/?sort={sort}").text
        more = re.search(r'<a href="([^"]+)">More sessions', first)
        assert more is not None
        second = client.get(more[1].replace("&amp;", "&")).text
        assert len(rows(first)) == 50
        assert len({*rows(first), *rows(second)}) == 53


def test_an_order_without_cursors_ends_where_its_pages_would_cost_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_SKIPPED", 50)
    storage = JsonStorage(tmp_path)
    for number in range(120):
        storage.append(f"s{number}", Run())
    client = TestClient(app(storage), base_url="http://localhost")
    assert "More sessions" in client.get("/?sort=runs").text
    for skip in (50, 10**12):
        page = client.get(f"/?sort=runs&skip={skip}").text
        assert len(rows(page)) == 50
        assert "More sessions" not in page


def test_a_wrong_place_in_the_list_is_refused(client: TestClient) -> None:
    """The answer was that localstore has a bug."""
    answer = client.get("/?after=nowhere")
    assert answer.status_code == 400
    assert "The address has no valid place in the list" in answer.text


def test_a_broken_document_has_an_empty_picture(client: TestClient, storage: JsonStorage) -> None:
    """The list showed the mark of an image that cannot be loaded."""
    path = storage.path("tea")
    path.write_text(path.read_text()[:-20])
    answer = client.get("/spark.svg?id=tea")
    assert (answer.status_code, "<rect" in answer.text) == (200, False)
    assert client.get("/session?id=tea").status_code == 409


@pytest.mark.parametrize("at_once", [10, 2000])
def test_a_link_to_a_run_opens_the_part_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(reading, "_MOST_AT_ONCE", at_once)
    storage = JsonStorage(tmp_path, durability="relaxed")
    storage.append_many("long", [Run(run_id=f"r{number}") for number in range(1, 151)])
    client = TestClient(app(storage), base_url="http://localhost")
    for number, before in ((150, None), (131, None), (130, 180), (77, 127), (1, 51)):
        answer = client.get(f"/run?id=long&run=r{number}", follow_redirects=False)
        query = "" if before is None else f"&before={before}"
        assert answer.headers["location"] == f"/session?id=long{query}#run-r{number}"
        assert f'id="run-r{number}"' in client.get(answer.headers["location"]).text
    assert client.get("/run?id=long&run=r151").status_code == 404


def test_a_long_session_is_read_in_parts(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path, durability="relaxed")
    storage.append_many("long", [Run(run_id=f"r{number}") for number in range(1, 151)])

    def part(before: int | None) -> tuple[int, list[str], int]:
        found = read_part(storage, "long", before)
        ids = [run.run_id for run in found.session.runs]
        return found.runs_before, [ids[0], ids[-1]], found.runs_after

    assert part(None) == (150 - FIRST, ["r131", "r150"], 0)
    assert part(131) == (130 - MORE, ["r31", "r130"], FIRST)
    assert part(31) == (0, ["r1", "r30"], 120)
    assert part(10**9) == (50, ["r51", "r150"], 0)


def test_a_state_is_checked_before_it_is_stored(client: TestClient, storage: JsonStorage) -> None:
    page = client.get("/session?id=trip").text
    token = re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[0]
    form = {"csrf": token, "id": "trip", "base": '{"cart": ["RJX 262"]}'}
    for state, problem in (("{", "is not JSON"), ("[]", "must be a JSON object"), ('{"a": NaN}', "")):
        answer = client.post("/state", data={**form, "state": state})
        assert answer.status_code == 400
        assert problem in answer.text
    assert client.post("/state", data={**form, "state": '{"cart": []}'}).status_code == 200
    session = storage.read("trip")
    assert session is not None
    assert session.session_state == {"cart": []}


@pytest.mark.parametrize("session_id", ["a/b?c=d&e#f", "..", "<b>", "ü 名", "a%2Fb", "'"])
def test_any_id_has_a_page(tmp_path: Path, session_id: str) -> None:
    storage = JsonStorage(tmp_path)
    storage.append(session_id, answered("Hello?", "Yes.", session_id))
    client = TestClient(app(storage, read_only=False), base_url="http://localhost")
    (link,) = re.findall(r'class="open" href="([^"]+)"', client.get("/").text)
    assert "Yes." in client.get(link).text
    raw = re.findall(r'href="([^"]+)">Raw</a>', client.get(link).text)[0].replace("&amp;", "&")
    assert client.get(raw).status_code == 200
    token = re.findall(r'name="csrf" value="([0-9a-f]{64})"', client.get(link).text)[0]
    client.post("/tag", data={"csrf": token, "id": session_id, "tag": "seen"})
    assert storage.list_sessions()[0].tags == ("seen",)


def test_what_takes_long_is_counted_again_in_the_background() -> None:
    remembered, results = Remembered(), iter(range(10))
    assert [remembered.get("quick", lambda: next(results)) for _ in range(3)] == [(0, False), (1, False), (2, False)]


def test_the_dashboard_counts_days_models_and_durations(storage: JsonStorage) -> None:
    figures = Counting(storage, {"gpt-4o-mini": (1.0, 2.0)}).figures(read_query([]))
    assert (figures.unit, figures.total.runs, figures.total.failures) == ("day", 3, 1)
    assert [timed.seconds for timed in figures.durations] == [1.5]
    assert figures.total.cost == pytest.approx(0.00013)


def test_a_site_has_a_page_for_each_session_and_a_search(storage: JsonStorage, tmp_path: Path) -> None:
    write_site(storage.export("html").sessions(), tmp_path / "site", "mine")
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    pages = re.findall(r'class="open" href="(sessions/[^"]+)"', index)
    assert len(pages) == 2
    text = "".join((tmp_path / "site" / page).read_text(encoding="utf-8") for page in pages)
    assert "<strong>7:58</strong>" in text
    assert "<form" not in index + text
    assert "At 18:02." in (tmp_path / "site" / "static" / "search.js").read_text(encoding="utf-8")
    assert not (tmp_path / "site" / "dashboard.html").exists()


def test_a_redacted_site_has_no_secret(tmp_path: Path) -> None:
    secret = "sk-" + "a1B2" * 10
    storage = JsonStorage(tmp_path / "store")
    storage.append("trip", answered(f"My key is {secret}", "Thanks.", "r1"), user_id="alice@example.org")
    write_site(storage.export("html", redact=True).sessions(), tmp_path / "site", "mine")
    for path in (tmp_path / "site").rglob("*.*"):
        assert secret not in path.read_text(encoding="utf-8")
        assert "alice@example.org" not in path.read_text(encoding="utf-8")


def test_filters_leave_out_archived_and_sub_sessions() -> None:
    assert read_query([]).where == Filter(archived=False, sub_sessions=False)
    assert read_query([("archived", "1")]).where == Filter(sub_sessions=False)
    assert read_query([("part_of", "s1"), ("nonsense", "x")]).where == Filter(archived=False, part_of="s1")
