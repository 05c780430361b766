"""How a command finds its store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run

from .conftest import Command


def make(root: Path, session_id: str) -> Path:
    """Create a store with one session."""
    JsonStorage(root).append(session_id, Run(messages=[Message(role="user", content="hi")]))
    return root


def listed(stdout: str) -> list[str]:
    return [line.split("\t")[0] for line in stdout.splitlines()]


def test_the_option_stands_before_or_after_the_command(run: Command, tmp_path: Path) -> None:
    """The program and the command both take `--store`; the one after the command wins."""
    a, b = make(tmp_path / "a", "in-a"), make(tmp_path / "b", "in-b")
    assert listed(run("--store", a, "ls").stdout) == ["in-a"]
    assert listed(run("ls", "--store", b).stdout) == ["in-b"]
    assert listed(run("--store", a, "ls", "--store", b).stdout) == ["in-b"]


def test_the_option_wins_over_the_environment(run: Command, tmp_path: Path) -> None:
    """LOCALSTORE_DIR is the default of `--store`."""
    a, b = make(tmp_path / "a", "in-a"), make(tmp_path / "b", "in-b")
    assert listed(run("ls", env={"LOCALSTORE_DIR": str(a)}).stdout) == ["in-a"]
    assert listed(run("ls", "--store", b, env={"LOCALSTORE_DIR": str(a)}).stdout) == ["in-b"]


def test_the_environment_wins_over_the_working_directory(run: Command, tmp_path: Path) -> None:
    """LOCALSTORE_DIR wins over a store in the working directory."""
    a, b = make(tmp_path / "a", "in-a"), make(tmp_path / "b", "in-b")
    assert listed(run("ls", cwd=b, env={"LOCALSTORE_DIR": str(a)}).stdout) == ["in-a"]


def test_an_empty_variable_is_ignored(run: Command, tmp_path: Path) -> None:
    """`LOCALSTORE_DIR= localstore ls` searches near the working directory."""
    a = make(tmp_path / "a", "in-a")
    assert listed(run("ls", cwd=a, env={"LOCALSTORE_DIR": ""}).stdout) == ["in-a"]


def test_the_nearest_store_above_is_used_silently(run: Command, tmp_path: Path) -> None:
    """Inside a store, at any depth, a command uses that store."""
    outer = make(tmp_path / "outer", "in-outer")
    inner = make(outer / "work" / "inner", "in-inner")
    for folder in (inner, inner / "sessions"):
        done = run("ls", cwd=folder)
        assert (listed(done.stdout), done.stderr) == (["in-inner"], "")
    assert listed(run("ls", cwd=outer / "work").stdout) == ["in-outer"]


def test_the_only_store_below_is_used_and_named(run: Command, tmp_path: Path) -> None:
    """A project folder with one store somewhere in it needs no option."""
    make(tmp_path / "tmp" / "sessions", "below")
    done = run("ls")
    assert listed(done.stdout) == ["below"]
    assert done.stderr == f"localstore: Using the store in {Path('tmp/sessions')}\n"


def test_a_path_of_a_document_names_its_store(run: Command, tmp_path: Path) -> None:
    """It wins over a store near the working directory, and not over the option and the variable."""
    for name in ("here", "there"):
        storage = JsonStorage(tmp_path / name)
        storage.append("s", Run(), user_id=name)
    path = storage.path("s")
    (tmp_path / "link.json").symlink_to(path)
    for named in (path, os.path.relpath(path, tmp_path / "here"), tmp_path / "link.json"):
        done = run("path", named, cwd=tmp_path / "here")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
    assert run("show", path, cwd=Path(path.anchor)).returncode == 0
    for refused in (
        run("path", path, "--store", tmp_path / "here"),
        run("path", path, env={"LOCALSTORE_DIR": str(tmp_path / "here")}),
    ):
        assert (refused.returncode, refused.stdout) == (3, "")
        assert refused.stderr.endswith(
            f"{path} is not in the store {tmp_path / 'here'}. Use the store that it is in.\n"
        )


def test_several_stores_below_are_listed(run: Command, tmp_path: Path) -> None:
    """The command does not guess which one is meant."""
    make(tmp_path / "a", "in-a")
    make(tmp_path / "deep" / "b", "in-b")
    done = run("ls")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"localstore: There are 2 stores below {tmp_path}. Choose one with --store DIR or LOCALSTORE_DIR:\n"
        f"  a\n  {Path('deep/b')}\n"
    )


@pytest.mark.parametrize("hidden", [".cache", "node_modules", "__pycache__", "a/b/c/d"])
def test_hidden_and_deep_folders_are_not_searched(run: Command, tmp_path: Path, hidden: str) -> None:
    """The search skips hidden folders and stops at a fixed depth."""
    make(tmp_path / hidden / "store", "hidden")
    done = run("ls")
    assert done.returncode == 3
    assert done.stderr.startswith(f"localstore: No store at, above or below {tmp_path}. Name one with --store DIR")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links_are_not_followed(run: Command, tmp_path: Path) -> None:
    """A link to a parent folder causes no endless search, and a link to a store elsewhere is ignored."""
    make(tmp_path / "elsewhere" / "store", "linked")
    here = tmp_path / "here"
    here.mkdir()
    (here / "circle").symlink_to(here)
    (here / "link").symlink_to(tmp_path / "elsewhere" / "store")
    done = run("ls", cwd=here)
    assert done.returncode == 3
    assert done.stderr.startswith(f"localstore: No store at, above or below {here}.")


def test_the_search_stops_after_very_many_folders(run: Command, tmp_path: Path) -> None:
    """In a home folder the search gives up after a while, and does not claim that the first store is the only one."""
    make(tmp_path / "0000", "first")
    for number in range(2100):
        (tmp_path / f"a{number}").mkdir()
    done = run("ls")
    assert done.returncode == 3
    assert "not all were searched" in done.stderr
    assert done.stderr.endswith("\n  0000\n")


@pytest.mark.parametrize("name", ["--store", "LOCALSTORE_DIR"])
def test_a_named_folder_that_does_not_exist_is_an_error(run: Command, tmp_path: Path, name: str) -> None:
    """A mistyped folder does not fall back to another store."""
    missing = str(tmp_path / "missing")
    done = run("ls", "--store", missing) if name == "--store" else run("ls", env={name: missing})
    error = f"localstore: {name} names '{missing}', which does not exist. Correct the path.\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", error)
    (tmp_path / "missing").write_text("")
    done = run("ls", "--store", missing) if name == "--store" else run("ls", env={name: missing})
    error = f"localstore: {name} names '{missing}', which is not a folder. Correct the path.\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", error)


def test_a_folder_that_is_no_store_is_an_error(run: Command, tmp_path: Path) -> None:
    """Reading from a folder does not create a store in it."""
    folder = tmp_path / "plain"
    folder.mkdir()
    done = run("ls", "--store", folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert list(folder.iterdir()) == []


def test_a_variable_that_names_no_store_is_mentioned(run: Command, tmp_path: Path) -> None:
    """The output names the variable, which may have been set long ago."""
    done = run("ls", env={"LOCALSTORE_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"localstore: LOCALSTORE_DIR names {tmp_path}\nlocalstore: There is no store at ")


def test_a_store_of_a_newer_format_is_refused(run: Command, tmp_path: Path) -> None:
    """A newer localstore may give the same names another meaning."""
    root = make(tmp_path / "store", "s1")
    (root / "localstore.json").write_text('{"format": 99}')
    done = run("ls", "--store", root)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Update localstore" in done.stderr


def test_a_file_of_another_program_is_ignored_and_named(run: Command, tmp_path: Path) -> None:
    """A file with the name of the marker above or below the working directory kept the store from being found."""
    root = make(tmp_path / "store", "s1")
    for folder in (root / "below", tmp_path / "other"):
        folder.mkdir()
        (folder / "localstore.json").write_text('{"theme": "dark"}')
        done = run("ls", cwd=root / "below")
        assert (done.returncode, done.stdout.split("\t")[0]) == (0, "s1")
        said = f"localstore: {root / 'below' / 'localstore.json'} is not of localstore, and was ignored\n"
        assert done.stderr == said
    done = run("ls", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{tmp_path / 'other' / 'localstore.json'} is not of localstore, and was ignored" in done.stderr
    done = run("ls", "--store", tmp_path / "other")
    assert (done.returncode, done.stdout) == (3, "")
    assert "It may belong to another program." in done.stderr


def test_a_folder_of_agno_files_is_refused(run: Command, tmp_path: Path) -> None:
    """A folder of agno sessions is recognised and not treated as empty."""
    (tmp_path / "x.json").write_text('{"session_id": "x", "memory": {}}')
    assert run("ls", "--store", tmp_path).returncode == 4


@pytest.mark.skipif(os.name != "posix", reason="a working directory can be removed on POSIX only")
def test_a_removed_working_directory_is_explained(run: Command, tmp_path: Path) -> None:
    """A deleted working directory causes no traceback."""
    import subprocess

    from .conftest import ENTRY_POINT, clean_environment

    done = subprocess.run(
        ["/bin/sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && "$0" ls', ENTRY_POINT],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 3
    assert "The working directory no longer exists" in done.stderr
