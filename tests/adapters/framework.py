"""Releases of a framework, each in an environment of its own, which is made once on this machine."""

import json
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.case_databases import servers
from tests.effort import IS_LONG
from tests.environments import ENVIRONMENT, ROOT, interpreter_or_skip, without_settings
from tests.run_cases import cases

_NEEDS = (
    *("click", "filelock", "openai", "orjson", "pydantic", "PyYAML", "rich"),
    *("sqlalchemy", "psycopg[binary]", "pymongo"),
)
"""What localstore needs there."""


@dataclass(frozen=True)
class Framework:
    """A package with the releases that are tested: the newest, and the oldest that works at the level `long`."""

    package: str
    newest: str
    oldest: str
    needs: tuple[str, ...] = ()
    """What the cases need besides."""

    @property
    def releases(self) -> tuple[str, ...]:
        """The releases that are tested at this level."""
        return (self.newest, self.oldest) if IS_LONG else (self.newest,)

    def parameters(self, module: str) -> list[Any]:
        """Return each release with each case of a module; one process runs all of a release."""
        return [
            pytest.param(release, case, marks=pytest.mark.xdist_group(f"{self.package}-{release}"))
            for release in self.releases
            for case in cases(module)
        ]

    def python(self, release: str, *more: str) -> Path:
        """Return the Python of the environment with a release, or skip the test."""
        packages = [f"{self.package}=={release}", *_NEEDS, *self.needs, *more]
        return interpreter_or_skip(f"{self.package}-{release}", packages)

    def run_inside(
        self, release: str, *args: str | Path, timeout: float = 240, more: tuple[str, ...] = (), **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `python ARGS` with a release, and with localstore and its tests from this checkout."""
        environment = without_settings("CLAUDE", "ANTHROPIC") | {"PYTHONPATH": str(ROOT)}
        options["env"] = environment | options.get("env", {})
        command = [str(self.python(release, *more)), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **options)

    def sources(self, folder: Path) -> Path:
        """Return the folder with the sources of the newest release, which has its tests, or skip the test."""
        python = self.python(self.newest)
        with FileLock(f"{python.parents[1]}.sources.lock", timeout=600):
            kept = python.parents[1] / "sources"
            if not list(kept.glob("*.tar.gz")):
                command = [sys.executable, "-m", "pip", "--python", str(python), "download", "-q"]
                command += ["--no-deps", "--no-binary", ":all:", "-d"]
                command += [str(kept), f"{self.package}=={self.newest}"]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT
                )
                if done.returncode != 0:
                    pytest.skip(f"the sources of {self.package} could not be downloaded: {done.stderr[-300:]}")
        (archive,) = kept.glob("*.tar.gz")
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
        (found,) = (path for path in folder.iterdir() if path.is_dir())
        return found


def example_of(package: str) -> str:
    """Return the example of the page about integrations that needs a package."""
    page = (ROOT / "localstore" / "integrations" / "README.md").read_text(encoding="utf-8")
    example = re.search(rf"<!-- needs {re.escape(package)} -->\n```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    return example[1]


@cache
def results(framework: Framework, release: str, module: str, folder: Path) -> dict[str, str | None]:
    """Run the cases of a module with a release, and return for each of them None, or what went wrong.

    The newest release also runs on the servers of databases.
    """
    arguments = ("-W", "error::ResourceWarning", "-m", "tests.run_cases", folder, module)
    done = framework.run_inside(release, *arguments, env=servers() if release == framework.newest else {})
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, str | None] = json.loads(done.stdout)
    return answer
