"""Set up git for a store: which documents it merges and compares with localstore, and the programs that do it."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from localstore.disk import durable_files, store_tree
from localstore.disk.store_tree import Opened
from localstore.errors import LocalstoreError

ATTRIBUTES = ".gitattributes"
_OURS = b"merge=localstore"
_LINES = (
    b"# localstore: 'localstore git init' sets up each clone\n"
    b"/sessions/*/*.json -text merge=localstore diff=localstore\n"
    b"/sessions/*/*.yaml -text merge=localstore diff=localstore\n"
)
"""The attributes of documents. `-text` keeps git from changing the ends of their lines."""
_MERGE_LINES = "git merge-file -L ours -L base -L theirs %A %O %B"
"""What git does itself, as a merge driver."""
_PROGRAM = re.compile(r"if test -x (.+?); then ")


@dataclass(frozen=True, slots=True)
class GitSetup:
    """The result of `set_up_git`.

    Attributes:
        attributes: The path of the `.gitattributes` of the store.
        repository: The folder of the repository.
        wrote_attributes: Whether lines were added to `attributes`.
        wrote_config: Whether the configuration of the repository was changed.
    """

    attributes: str
    repository: str
    wrote_attributes: bool
    wrote_config: bool

    def as_dict(self) -> dict[str, object]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def set_up_git(store: Opened | Path | str) -> GitSetup:
    """Make git merge and show the documents of a store by their runs.

    It adds the attributes of documents to `.gitattributes` in the folder of the store, where other lines stay as they
    are, and registers the merge driver and the diff in the configuration of this clone. Git does not clone its
    configuration, so every clone has to be set up. A second call changes nothing.

    >>> from localstore import JsonStorage
    >>> storage = JsonStorage("my-sessions")
    >>> subprocess.call(["git", "init", "--quiet", "my-sessions"])
    0
    >>> set_up_git(storage).wrote_config, set_up_git(storage).wrote_config
    (True, False)

    Args:
        store: An open storage or the path of a store.

    Raises LocalstoreError if the store is in no git repository or git is not installed; StoreNotFound, OlderFormat or
    NewerFormat if there is no usable store; OSError.
    """
    root = str(store_tree.root_of(store))
    found = _git(root, "rev-parse", "--show-toplevel")
    if found.code or not found.answer:
        is_untrusted = "safe.directory" in found.errors
        command = "git config --global --add safe.directory" if is_untrusted else "git init"
        advice = f"{'Tell git to trust it' if is_untrusted else 'Make one'} with: {command} {shlex.quote(root)}"
        raise LocalstoreError(f"Git finds no repository at {root}: {found.reason}. {advice}", path=root)
    wrote_attributes = _write_attributes(root)
    wrote_config = False
    for name, value in _config().items():
        if _value(root, name, "--local") != value:
            done = _git(root, "config", "--local", "--replace-all", name, value)
            if done.code:
                raise LocalstoreError(
                    f"Git cannot change the configuration of the repository at {root}: {done.reason}. Check the "
                    "permissions of its folder .git and try again.",
                    path=root,
                )
            wrote_config = True
    return GitSetup(os.path.join(root, ATTRIBUTES), found.answer, wrote_attributes, wrote_config)


def lacks_driver(root: str) -> bool:
    """Return whether a store has the attributes, but is in a clone that has no merge driver, or one that is gone."""
    with contextlib.suppress(OSError, LocalstoreError):
        if _OURS in Path(root, ATTRIBUTES).read_bytes() and _git(root, "rev-parse", "--git-dir").code == 0:
            driver = _value(root, "merge.localstore.driver")
            program = None if driver is None else _PROGRAM.match(driver)
            is_gone = program is not None and not os.path.exists(shlex.split(program[1])[0].replace("%%", "%"))
            return driver is None or is_gone
    return False


def _config() -> dict[str, str]:
    python = shlex.quote(Path(sys.executable).as_posix())
    program = f"{python} -P -m localstore"  # -P: a module of this name in the repository does not count
    # A driver that is missing would leave our side in place of a conflict.
    driver = f"if test -x {python}; then {program} merge-driver %O %A %B %P; else {_MERGE_LINES}; fi"
    return {
        "merge.localstore.name": "sessions of localstore, merged by run",
        "merge.localstore.driver": driver.replace(python, python.replace("%", "%%")),
        "diff.localstore.textconv": f"{program} git textconv",
        "diff.localstore.xfuncname": "^(run|update|item)  .*",
    }


def _write_attributes(root: str) -> bool:
    path = Path(root, ATTRIBUTES)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise LocalstoreError(f"{path} is not a regular file, so git does not read it. Move it.", path=str(path))
    before = path.read_bytes() if path.exists() else b""
    if _OURS in before:
        return False
    separator = b"" if before.endswith(b"\n") or not before else b"\n"
    durable_files.write_file(path, [before, separator, _LINES])
    return True


def _value(root: str, name: str, *scope: str) -> str | None:
    """Return a value of git's configuration, or None if it has no value."""
    done = _git(root, "config", *scope, "--get", name)
    return None if done.code else done.answer


class _Done(NamedTuple):
    """How a call of git ended: its exit code, what it printed, and its errors."""

    code: int
    answer: str
    errors: str

    @property
    def reason(self) -> str:
        """The first line of the errors, without its full stop."""
        line = self.errors.partition("\n")[0] or f"exit code {self.code}"
        return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")


def _git(root: str, *args: str) -> _Done:
    try:
        with subprocess.Popen(  # noqa: S603 (fixed words, and the folder of the store)
            ["git", "-C", root, *args],  # noqa: S607 (the git that the user has)
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            answer, errors = process.communicate()
    except FileNotFoundError:
        raise LocalstoreError("There is no program 'git'. Install it and try again.", path=root) from None
    text = errors.decode(errors="replace").strip()
    return _Done(process.returncode, os.fsdecode(answer.removesuffix(b"\n")), text)
