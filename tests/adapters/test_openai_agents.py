"""`LocalSession` under real releases of the OpenAI Agents SDK."""

import re
from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only, long_only
from tests.environments import ROOT
from tests.scripted_server import scripted_server, text

SDK = Framework("openai-agents", newest="0.24.0", oldest="0.2.0")
CASES = "tests.adapters.cases_openai_agents"
OF_SQLITE = (
    "sqlite_session_close",
    "sqlite_session_reaps",
    "sqlite_session_closes",
    "sqlite_session_keeps_connections",
    "sqlite_session_closed",
    "corrupt",
    "file_lock",
    "releases_write_lock",
    "rolls_back",
    "evicts_connection",
    "post_commit_cancellation",
    "cancelled_suffix_transaction",
    "failed_encrypted_suffix_transaction",
    "test_settled_pop_failure",
    "test_settled_clear_failure",
    # These count the steps of a replacement that clears and adds. Ours is one step.
    "test_cancel_restore_waits_for_mutation_lock",
    "test_exception_restore_drains",
)
"""Words of the names of the SDK's tests that look into SQLite's connections, locks, tables or damaged rows."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openai-agents")


@ci_only
@pytest.mark.parametrize(("release", "case"), SDK.parameters(CASES))
def test_in_the_sdk(folder: Path, release: str, case: str) -> None:
    problem = results(SDK, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_example_of_the_page_remembers_its_first_run(tmp_path: Path) -> None:
    example = example_of("openai-agents")
    before = "import agents; agents.set_default_openai_api('chat_completions'); agents.set_tracing_disabled(True)\n"
    with scripted_server(text("At 7:58."), text("As I said.")) as server:
        for answer in ("At 7:58.\n", "As I said.\n"):
            environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
            done = SDK.run_inside(SDK.newest, "-c", before + example, cwd=tmp_path, env=environment)
            assert done.stdout == answer, done.stderr
        question = "Which train goes to Vienna?"
        assert [message["content"] for message in server.requests[1]["messages"]][::2] == [question, question]


@ci_only
def test_the_sample_remembers_when_it_is_run_again(tmp_path: Path) -> None:
    sample = ROOT / "samples" / "frameworks" / "openai_agents.py"
    for release in SDK.releases:
        folder = tmp_path / release
        folder.mkdir()
        for number in (1, 2):
            done = SDK.run_inside(release, sample, cwd=folder)
            assert done.stdout.splitlines()[-1] == f"{4 * number} items are stored", done.stderr


@long_only
def test_the_tests_of_the_sdk_pass(tmp_path: Path) -> None:
    """The SDK's own tests run with `LocalSession` in the place of `SQLiteSession`."""
    sources = SDK.sources(tmp_path)
    names = ("session", "session_limit", "compaction_suffix", "compaction_model_visibility")
    files = [f"tests/memory/test_{name}.py" for name in (*names, "openai_responses_compaction_session")]
    needs = ("pytest", "pytest-asyncio", "pytest-timeout", "inline-snapshot", "aiosqlite", "greenlet", "cryptography")
    stand_in = Path(__file__).parent / "stand_ins"
    done = SDK.run_inside(
        SDK.newest,
        *("-m", "pytest", "-q", "-p", "openai_agents_stand_in", "-p", "no:cacheprovider", "--timeout=60", *files),
        *("-k", " and ".join(f"not {name}" for name in OF_SQLITE)),
        more=needs,
        cwd=sources,
        timeout=900,
        env={"PYTHONPATH": f"{ROOT}:{stand_in}"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 250
