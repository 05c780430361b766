"""`LocalDb` works with the agents, teams and workflows of real releases of agno, each in its own environment."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage
from tests.agno_db.environments import NEWEST, OLDEST, RELEASES, run_inside
from tests.case_databases import mongo, postgres
from tests.effort import ci_only
from tests.environments import ROOT, NotThere
from tests.run_cases import cases
from tests.scripted_server import scripted_server, text

pytestmark = ci_only


PLACES = [(release, "folder") for release in RELEASES]
PLACES += [(OLDEST, "sqlite"), *((NEWEST, name) for name in ("sqlite", "postgres", "mongo"))]
"""Each release, and where it keeps the sessions."""


def modules(release: str, place: str) -> list[str]:
    """Return the modules to run in a release. The oldest one cannot read teams from its own JsonDb, so it has none."""
    some = ["store", "memories", "flow"]
    some += ["groups", "shared"] if release != OLDEST else []
    some += ["runs"] if release.startswith("3.") else []
    some += ["random", "transcripts"] if release == NEWEST else []
    some += ["files"] if place == "folder" else []
    some += ["os"] if place == "folder" and release == NEWEST else []
    return [f"tests.agno_db.cases_{name}" for name in some]


def url_of(place: str, folder: Path) -> str:
    """Return the URL of the database for the cases, with {} for a name in it; "" for folders."""
    match place:
        case "postgres":
            return postgres()
        case "mongo":
            return mongo()
        case "sqlite":
            return f"sqlite:///{folder}/{{}}.db"
    return ""


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs the cases of a release in one place in one process, and returns their results."""

    @cache
    def of(release: str, place: str) -> dict[str, str | None]:
        folder = tmp_path_factory.mktemp(f"{release}-{place}")
        url = url_of(place, folder)
        try:
            done = run_inside(release, "tests.run_cases", folder, *modules(release, place), AGNO_TEST_DATABASE=url)
        except NotThere as error:
            pytest.skip(str(error))
        assert done.returncode == 0, done.stderr[-3000:]
        answer: dict[str, str | None] = json.loads(done.stdout)
        return answer

    return of


@pytest.mark.parametrize(
    ("release", "place", "case"),
    [
        pytest.param(release, place, case, marks=pytest.mark.xdist_group(f"agno-{release}-{place}"))  # in one process
        for release, place in PLACES
        for module in modules(release, place)
        for case in cases(module)
    ],
)
def test_in_agno(results: Any, release: str, place: str, case: str) -> None:
    problem = results(release, place)[case]
    assert problem is None, problem


def inside(release: str, *args: str | Path, **options: Any) -> None:
    try:
        done = run_inside(release, *args, **options)
    except NotThere as error:
        pytest.skip(str(error))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_the_first_example_run_twice_as_two_processes_goes_on(tmp_path: Path, release: str) -> None:
    with scripted_server(text("Paris."), text("About two million.")) as server:
        for question in ("What is the capital of France?", "And how many live there?"):
            inside(release, "tests.agno_db.seed", tmp_path, server.base_url, question)
        messages = [message["content"] for message in server.requests[1]["messages"] if message["role"] != "system"]
    assert messages == ["What is the capital of France?", "Paris.", "And how many live there?"]
    session = JsonStorage(tmp_path).read("fixed_id_for_demo")
    assert session is not None
    assert [(run.question, run.answer) for run in session.runs] == [
        ("What is the capital of France?", "Paris."),
        ("And how many live there?", "About two million."),
    ]


@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_the_example_of_the_page_remembers_its_first_run(tmp_path: Path, release: str) -> None:
    page = (ROOT / "localstore" / "integrations" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- needs agno -->\n```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "page_example.py").write_text(example[1])
    with scripted_server(text("Paris."), text("Paris, again.")) as server:
        for _ in range(2):
            inside(release, "page_example", folder=tmp_path, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="none")
        messages = [message["content"] for message in server.requests[1]["messages"] if message["role"] != "system"]
    question = "What is the capital of France?"
    assert messages == [question, "Paris.", question]


def test_two_processes_on_one_session_lose_no_run(tmp_path: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(16)]) as server, ThreadPoolExecutor() as pool:
        args = [("tests.agno_db.seed", tmp_path, server.base_url, word, "8") for word in ("one", "two")]
        for done in [pool.submit(inside, NEWEST, *one) for one in args]:
            done.result()
    session = JsonStorage(tmp_path).read("fixed_id_for_demo")
    assert session is not None
    assert sorted(run.question for run in session.runs) == sorted(f"{w} {n}" for w in ("one", "two") for n in range(8))
    assert len({run.run_id for run in session.runs}) == 16
