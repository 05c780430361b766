"""Who may ask for pages, from where, and what a browser may do with them."""

import re

import pytest
from starlette.testclient import TestClient

from localstore import JsonStorage
from localstore.viewer import app
from localstore.viewer.safety import LOOPBACK

WORD = "s3cret"


@pytest.fixture
def guarded(storage: JsonStorage) -> TestClient:
    """Asks pages that need a token and a known name."""
    pages = app(storage, read_only=False, token=WORD, hosts=LOOPBACK)
    return TestClient(pages, base_url="http://localhost:8470", follow_redirects=False)


def entered(client: TestClient) -> TestClient:
    assert client.get("/?token=s3cret").status_code == 303
    return client


def csrf(client: TestClient) -> str:
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/session?id=trip").text)
    assert match is not None
    return match[1]


def test_without_the_token_nothing_is_shown(guarded: TestClient) -> None:
    for path in ("/", "/?token=", "/?token=wrong", "/session?id=trip", "/static/style.css", "/live", "/nowhere"):
        answer = guarded.get(path)
        assert answer.status_code == 403
        assert "Linz" not in answer.text
        assert "set-cookie" not in answer.headers


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(guarded: TestClient) -> None:
    answer = guarded.get("/session?id=trip&token=s3cret")
    assert (answer.status_code, answer.headers["location"]) == (303, "/session?id=trip")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "s3cret" not in cookie
    assert "Linz" in guarded.get("/session?id=trip").text


def test_a_cookie_of_another_token_is_refused(storage: JsonStorage, guarded: TestClient) -> None:
    cookies = entered(guarded).cookies
    other = TestClient(app(storage, token=f"another {WORD}"), base_url="http://localhost", cookies=dict(cookies))
    assert other.get("/").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8470", "", "localhost.evil.example", "[::2]", "["])
def test_another_name_of_the_host_is_refused(guarded: TestClient, host: str) -> None:
    """A page of another site that lets its name point to this machine (DNS rebinding) learns nothing."""
    entered(guarded)
    assert guarded.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8470", "[::1]:8470", "LOCALHOST:1"])
def test_the_names_of_this_machine_are_answered(guarded: TestClient, host: str) -> None:
    entered(guarded)
    assert guarded.get("/", headers={"host": host}).status_code in (200, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused(
    guarded: TestClient, storage: JsonStorage, headers: dict[str, str]
) -> None:
    form = {"csrf": csrf(entered(guarded)), "id": "trip", "name": "stolen"}
    assert guarded.post("/rename", data=form, headers=headers).status_code == 403
    assert storage.list_sessions(user_id="alice")[0].name == "Trip to Linz"


@pytest.mark.parametrize("token", ["", "0" * 64, "ü", None])
def test_a_change_without_the_token_of_the_form_is_refused(
    guarded: TestClient, storage: JsonStorage, token: str | None
) -> None:
    entered(guarded)
    form = {"id": "trip", "name": "stolen"} | ({} if token is None else {"csrf": token})
    assert guarded.post("/rename", data=form).status_code == 403
    assert storage.list_sessions(user_id="alice")[0].name == "Trip to Linz"


def test_a_change_from_the_own_page_is_made(guarded: TestClient, storage: JsonStorage) -> None:
    form = {"csrf": csrf(entered(guarded)), "id": "trip", "name": "Linz and back"}
    headers = {"origin": "http://localhost:8470", "sec-fetch-site": "same-origin"}
    assert guarded.post("/rename", data=form, headers=headers).status_code == 303
    assert storage.list_sessions(user_id="alice")[0].name == "Linz and back"


def test_no_page_may_run_inline_scripts_or_load_anything_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/session?id=trip", "/dashboard", "/problems", "/nowhere", "/static/viewer.js", "/raw?id=trip"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        if not path.startswith("/static"):
            assert not re.search(r"<script(?! src=)|<[^>]+ (style|on\w+)=", answer.text)
            assert answer.headers["cache-control"] == "no-store"


def test_pages_that_may_not_be_changed_offer_and_accept_no_change(storage: JsonStorage) -> None:
    client = TestClient(app(storage), base_url="http://localhost", follow_redirects=False)
    page = client.get("/session?id=trip").text
    assert 'action="/rename"' not in page
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/").text)
    assert match is not None
    for action in ("rename", "rate", "tag", "untag", "archive", "unarchive", "trash", "restore", "state"):
        form = {"csrf": match[1], "id": "trip", "name": "x", "run": "r1", "rating": "good", "tag": "x", "state": "{}"}
        assert client.post(f"/{action}", data=form).status_code == 403
    assert storage.list_sessions(user_id="alice")[0].name == "Trip to Linz"


def test_an_export_is_no_change(storage: JsonStorage) -> None:
    client = TestClient(app(storage), base_url="http://localhost")
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/").text)
    assert match is not None
    answer = client.post("/export", data={"csrf": match[1], "id": ["trip", "tea"], "format": "markdown"})
    assert answer.headers["content-disposition"] == 'attachment; filename="sessions.md"'
    assert answer.text.count("## ") >= 2


def test_links_of_a_mounted_app_stay_below_it(storage: JsonStorage) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/memory", app(storage, read_only=False))])
    client = TestClient(outer, base_url="http://localhost")
    page = client.get("/memory/").text
    assert 'href="/memory/session?id=trip"' in page
    assert 'href="/memory/static/style.css"' in page
    assert not re.search(r'(?:href|src|action|hx-get)="/(?!memory/)', page)
    assert "Linz" in client.get("/memory/session?id=trip").text
