"""`LocalSessionRepository` and `LocalStorage` under real releases of Strands Agents."""

import re
from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only, long_only
from tests.environments import ROOT
from tests.scripted_server import scripted_server, stream

STRANDS = Framework("strands-agents", newest="1.62.0", oldest="1.0.0")
CASES = "tests.adapters.cases_strands"
OF_FILES = (
    "_path",
    "create_session",
    "delete_session",
    "create_agent",
    "create_message",
    "durable_id",
    "corrupted",
    "create_multi_agent",
    "creates_directories",
    "namespace",
    "sandbox",
    "search_strategy",
    "delegates_to_strategy",
    "raises_storage_error",
    "prefixed",
    "atomic_cleanup",
    # Our keys may be any text.
    "key_normalization",
    "path_traversal",
    "TestSnapshotStashIntegration",
)
"""Words of the names of the framework's tests that look into the files, or at what its own classes have besides."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strands")


@ci_only
@pytest.mark.parametrize(("release", "case"), STRANDS.parameters(CASES))
def test_in_strands(folder: Path, release: str, case: str) -> None:
    problem = results(STRANDS, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_example_of_the_page_remembers_its_first_run(tmp_path: Path) -> None:
    example = example_of("strands-agents")
    with scripted_server(stream("At 7:58."), stream("As I said.")) as server:
        for _ in range(2):
            environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
            done = STRANDS.run_inside(STRANDS.newest, "-c", example, cwd=tmp_path, env=environment)
            assert done.returncode == 0, done.stderr
        assert str(server.requests[1]["messages"]).count("Which train goes to Vienna?") == 2


@ci_only
def test_the_sample_remembers_when_it_is_run_again(tmp_path: Path) -> None:
    sample = ROOT / "samples" / "frameworks" / "strands_agents.py"
    for release in STRANDS.releases:
        folder = tmp_path / release
        folder.mkdir()
        for number in (1, 2):
            done = STRANDS.run_inside(release, sample, cwd=folder)
            assert done.stdout.splitlines()[-1] == f"{4 * number} messages are stored", done.stderr


@long_only
def test_the_tests_of_strands_pass(tmp_path: Path) -> None:
    """Its own tests of repositories and snapshots run with ours in the place of its own."""
    sources = STRANDS.sources(tmp_path)
    session = [f"session/test_{name}_session_manager.py" for name in ("file", "repository", "snapshot")]
    files = [f"tests/strands/{name}" for name in (*session, "storage/test_local_file_storage.py")]
    done = STRANDS.run_inside(
        STRANDS.newest,
        *("-m", "pytest", "-q", "-o", "addopts=", "-p", "strands_stand_in", "-p", "no:cacheprovider", "--timeout=60"),
        *(*files, "-k", " and ".join(f"not {name}" for name in OF_FILES)),
        more=("pytest", "pytest-asyncio", "pytest-timeout", "moto"),
        cwd=sources,
        timeout=900,
        env={"PYTHONPATH": f"{sources}:{ROOT}:{Path(__file__).parent / 'stand_ins'}"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 150
