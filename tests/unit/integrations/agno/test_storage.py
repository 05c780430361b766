"""Runs `tests/agno_1` in environments with agno 1.x, which the development environment does not have."""

import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.contract.storages import name_of
from tests.effort import IS_LONG, ci_only
from tests.environments import ROOT, interpreter_or_skip, without_settings
from tests.mongo import mongo_url
from tests.postgres import postgres_url

OLDEST, NEWEST = "1.5.10", "1.8.4"
RELEASES = (OLDEST, NEWEST) if not IS_LONG else (OLDEST, "1.6.0", "1.7.0", "1.7.12", "1.8.0", NEWEST)
"""The oldest and the newest supported release, and some between them."""
NEEDS = ("openai", "filelock", "orjson", "PyYAML", "click", "rich", "pytest", "pytest-timeout")
DRIVERS = ("sqlalchemy", "psycopg[binary]", "pymongo")
OF_DATABASES = "test_databases.py"


@ci_only
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "tests" / "agno_1").glob("test_*.py")))
@pytest.mark.timeout(900)
def test_with_agno(tmp_path: Path, release: str, name: str) -> None:
    """One file of tests passes with this release. agno's own warnings are no errors."""
    python = interpreter_or_skip(f"agno-{release}", (f"agno=={release}", *NEEDS, *DRIVERS))
    servers = {}
    if name == OF_DATABASES and release == NEWEST:
        postgres = postgres_url()
        schema = urlencode({"schema": name_of(tmp_path)})
        servers["AGNO_TEST_POSTGRES"] = f"{postgres}{'&' if '?' in postgres else '?'}{schema}"
        servers["AGNO_TEST_MONGO"] = f"{mongo_url()}/{name_of(tmp_path)}"
    ini = ("-o", "filterwarnings=default", "-o", "addopts=")  # the options of pyproject.toml need pytest-xdist
    options = ("-q", "-p", "no:cacheprovider", "--confcutdir=tests/agno_1", *ini)
    command = [str(python), "-m", "pytest", *options]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inner'}", f"tests/agno_1/{name}"],
        cwd=ROOT,
        env={**without_settings(), "PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false", **servers},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert "no tests ran" not in done.stdout
