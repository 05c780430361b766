"""Environments of their own for tests with packages that are no part of the development environment, each made once on
this machine and kept in the folder for temporary files.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
ENVIRONMENT = dict(os.environ)
"""The variables before the tests change any: an installer needs the certificates that the system trusts."""
_INSTALLERS = (
    ("uv", "pip", "install", "-q", "--python", "{python}"),
    ("pip", "--python", "{python}", "install", "-q", "--disable-pip-version-check", "--no-compile"),
)
"""What installs packages, as modules of this Python: uv, which takes a twentieth of pip's time. Where it is missing or
fails, pip is asked, which has settings of its own, such as another index."""


def no_certificates() -> Path:
    """A folder without certificates, for `SSL_CERT_DIR`."""
    folder = Path(tempfile.gettempdir(), f"localstore-tests-{getattr(os, 'getuid', lambda: 'me')()}-no-certificates")
    folder.mkdir(exist_ok=True)
    return folder


def folder_in_memory() -> Path | None:
    """The folder that Linux keeps in memory, if the stores of the tests have room there and programs may run."""
    folder = Path("/dev/shm")  # noqa: S108 (pytest makes a folder of its own in it)
    if not os.access(folder, os.W_OK):
        return None
    status = os.statvfs(folder)
    is_usable = status.f_bavail * status.f_frsize >= 1 << 30 and not status.f_flag & os.ST_NOEXEC
    return folder if is_usable else None


class NotThere(Exception):
    """The environment cannot be made here; the text says why."""


def interpreter(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages. Raises NotThere when they cannot be installed; that is tried
    once in a process."""
    found = _made(name, tuple(packages))
    if isinstance(found, str):
        raise NotThere(found)
    return found


def interpreter_or_skip(name: str, packages: Sequence[str]) -> Path:
    """The same for a test: where they cannot be installed it is skipped, but fails in CI."""
    try:
        return interpreter(name, packages)
    except NotThere as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@cache
def _made(name: str, packages: tuple[str, ...]) -> Path | str:
    """The Python of the environment, or why it cannot be made."""
    key = sha256(json.dumps([sys.version_info[:2], *packages]).encode()).hexdigest()[:12]
    owner = getattr(os, "getuid", lambda: "me")()
    folder = Path(tempfile.gettempdir(), f"localstore-tests-{owner}-{name}-{key}")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    complete = folder / "complete"
    with FileLock(f"{folder}.lock", timeout=600):
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
            for installer in _INSTALLERS:
                options = [option.format(python=python) for option in installer]
                command = [sys.executable, "-m", *options, *packages]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
                if done.returncode == 0:
                    break
            else:
                return f"{name} could not be installed: {done.stderr.strip().splitlines()[-1:]}"
            complete.touch()
    return python


def without_settings(*more: str) -> dict[str, str]:
    """The environment variables of this process without those that steer agno, its model clients, or what begins
    like `more`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "AGNO_", *more))}
