"""`localstore check`: each kind of finding. A check changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import Item, JsonStorage, Message, Run, YamlStorage
from localstore.disk.backup_folder import make
from tests.crashes import restart_machine, tear
from tests.effort import ci_only
from tests.unit.raw import question

from .conftest import Command

Invoke = Callable[..., Result]
Check = Callable[[], list[dict[str, Any]]]
posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and terminals of POSIX")


def state_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Return every file and folder with its bytes, mode, times and links, except for the index, which reads update."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        if path.name == ".localstore" or path.name.startswith("index.sqlite"):
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK) else None
        found[str(path)] = (content, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


@pytest.fixture
def check(invoke: Invoke, store: Path) -> Iterator[Check]:
    """Return a function that checks the store and asserts what holds for every check."""
    before: dict[str, tuple[object, ...]] = {}

    def call() -> list[dict[str, Any]]:
        before.update(state_of(store))
        done = invoke("check", "--json", "--store", store)
        findings: list[dict[str, Any]] = json.loads(done.stdout)
        assert done.exit_code == any(finding["severity"] == "error" for finding in findings)
        for finding in findings:
            assert finding["severity"] in ("error", "note")
            assert finding["path"].startswith(str(store))
            assert finding["problem"]
            assert finding["advice"]
        return findings

    yield call
    assert before, "nothing was checked"
    assert state_of(store) == before


def document(store: Path, session_id: str = "graz-1") -> Path:
    return JsonStorage(store).path(session_id)


def only(findings: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(findings) == 1, findings
    return findings[0]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_sound_store_has_no_findings(run: Command, store: Path) -> None:
    """The summary counts the sessions."""
    before = state_of(store)
    done = run("check", "--store", store)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 sessions, no findings\n", "")
    assert json.loads(run("check", "--json", "--store", store).stdout) == []
    assert state_of(store) == before


def test_an_empty_store_has_no_findings(run: Command, tmp_path: Path) -> None:
    """An empty store is not a problem."""
    JsonStorage(tmp_path / "empty")
    assert run("check", "--store", tmp_path / "empty").stdout == "0 sessions, no findings\n"


def test_a_finding_is_one_line_with_file_problem_and_advice(run: Command, store: Path) -> None:
    """A pipe gets only the findings; the summary goes to the standard error."""
    path = document(store)
    edit(path, '"Graz?"', "Graz?")
    done = run("check", "--store", store)
    assert done.returncode == 1
    place, severity, problem, advice = done.stdout.rstrip("\n").split("\t")
    line = path.read_text().splitlines().index('          "content": Graz?') + 1
    assert (place, severity) == (f"{path}:{line}", "error")
    assert "column" in problem
    assert advice == "Fix it in an editor."
    assert done.stderr == "localstore: 3 sessions, 1 error\n"


def test_a_yaml_document_that_does_not_parse(check: Check, store: Path) -> None:
    """The reported line is the line in the file."""
    path = document(store, "linz-1")
    edit(path, "content: Linz?", "content: [Linz?")
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("error", str(path))
    assert finding["line"] > 5


def test_a_document_without_required_fields(check: Check, store: Path) -> None:
    """The structure is checked, not only the syntax."""
    path = document(store)
    edit(path, '  "kind": "agent",\n', "")
    assert '"kind"' in only(check())["problem"]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"content": "Graz?"', '"content": {"x": 1}', "history[0].messages[0].content: "),
        ('"name": "get_weather"', '"name": 7', "history[0].messages[1].tool_calls[0].name: "),
        ('"name": "get_weather",', "", "history[0].messages[1].tool_calls[0].name: "),
        ('"model": "gpt-4o-mini"', '"model": []', "history[0].model: "),
    ],
)
def test_a_field_of_a_wrong_type(check: Check, store: Path, old: str, new: str, where: str) -> None:
    """Fields that only the models define are checked, and the finding has the line of their entry."""
    path = document(store)
    edit(path, old, new)
    finding = only(check())
    assert finding["severity"] == "error"
    assert finding["problem"].startswith(where)
    assert finding["line"] == path.read_text().splitlines().index("    {") + 1


def test_a_header_field_of_a_wrong_type(check: Check, store: Path) -> None:
    """The finding has the line of the field."""
    path = document(store)
    edit(path, '"kind": "agent"', '"kind": "agent",\n  "session_summary": 1,\n  "instructions": 7')
    finding = only(check())
    assert finding["problem"].startswith("instructions: ")
    assert finding["line"] == path.read_text().splitlines().index('  "instructions": 7,') + 1


def test_very_many_wrong_fields_are_shortened(check: Check, store: Path) -> None:
    """One broken document does not fill the screen."""
    path = document(store, "vienna-trip")
    path.write_text(path.read_text().replace('"model": "gpt-4o-mini"', '"model": 7'))
    findings = check()
    assert len(findings) == 11
    assert findings[-1]["problem"] == "2 more fields are wrong"


def test_a_duplicate_key(check: Check, store: Path) -> None:
    """A value that a rewrite would drop silently is an error."""
    path = document(store)
    edit(path, '  "kind": "agent",\n', '  "kind": "agent",\n  "kind": "agent",\n')
    assert "twice" in only(check())["problem"]


def test_an_integer_beyond_64_bits(check: Check, store: Path) -> None:
    """A number that a rewrite would round is an error."""
    edit(document(store), '  "kind": "agent",\n', '  "kind": "agent",\n  "big": 123456789012345678901234567890,\n')
    assert any("64 bits" in finding["problem"] for finding in check())


def test_a_reformatted_document_is_a_note(check: Check, store: Path) -> None:
    """Another layout is valid, only slower."""
    path = document(store)
    path.write_text(json.dumps(json.loads(path.read_text())))
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(path))
    assert "laid out" in finding["problem"]


def test_notes_alone_exit_with_0(run: Command, store: Path) -> None:
    """A note does not make a script fail."""
    path = document(store)
    path.write_text(json.dumps(json.loads(path.read_text())))
    done = run("check", "--store", store)
    assert (done.returncode, done.stderr) == (0, "localstore: 3 sessions, 1 note\n")


def test_a_document_of_a_newer_version(check: Check, store: Path) -> None:
    """The document is named and not changed."""
    path = document(store)
    edit(path, '"schema_version": 1', '"schema_version": 2')
    finding = only(check())
    assert "schema version 2" in finding["problem"]
    assert finding["advice"] == "Update localstore."


def test_a_document_of_an_older_version(check: Check, store: Path) -> None:
    """The document is named and not changed."""
    edit(document(store), '"schema_version": 1', '"schema_version": 0')
    assert "schema version 0" in only(check())["problem"]


def test_a_torn_tail_is_distinguished_from_an_edit(check: Check, store: Path) -> None:
    """The next write repairs what a killed writer left, and the finding says so."""
    tear(store, document(store), "graz-1")
    finding = only(check())
    assert finding["problem"] == "was torn by a crash"
    assert "rescue" in finding["advice"]


def test_a_run_in_the_middle_of_typing_is_an_edit(check: Check, store: Path) -> None:
    """The check called it torn by a crash, and the next write moved what was typed to the rescue folder."""
    path = document(store)
    path.write_bytes(path.read_bytes().removesuffix(b"\n  ]\n}\n") + b',\n    {\n      "type": "run",\n      "run_i')
    finding = only(check())
    assert finding["advice"] == "Fix it in an editor."
    assert finding["line"] == path.read_bytes().count(b"\n") + 1


def test_two_documents_with_the_same_id(check: Check, store: Path) -> None:
    """A copied file is an error, because only one of the two files is used."""
    path = document(store)
    copy = path.with_name("copy.json")
    shutil.copy2(path, copy)
    duplicate = only(check())
    assert (duplicate["severity"], duplicate["path"]) == ("error", str(copy))
    assert duplicate["problem"] == f"has the same session_id as {path}"


def test_of_two_documents_with_one_id_the_one_with_the_canonical_name_counts(check: Check, store: Path) -> None:
    """The check treated the first file name as the session, and reported the file in use as the copy."""
    path = document(store)
    copy = path.with_name("a-copy.json")
    shutil.copy2(path, copy)
    assert only(check())["path"] == str(copy)


def test_a_file_name_that_does_not_match_the_id(check: Check, store: Path) -> None:
    """A renamed document is found, but more slowly."""
    path = document(store)
    path.rename(path.with_name("other.json"))
    findings = check()
    assert {finding["severity"] for finding in findings} == {"note"}
    assert any("not named after its session_id" in finding["problem"] for finding in findings)


@pytest.mark.parametrize("place", ["sessions/lost.json", "sessions/2026-01/deeper/lost.yaml"])
def test_a_document_outside_the_month_folders(check: Check, store: Path, place: str) -> None:
    """Such a file is never read, so it is an error."""
    (store / place).parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy2(document(store), store / place)
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("error", str(store / place))
    assert "not in a month folder" in finding["problem"]


def test_a_folder_that_is_not_a_month(check: Check, store: Path) -> None:
    """Its documents are still read."""
    (store / "sessions" / "old").mkdir(mode=0o700)
    document(store).rename(store / "sessions" / "old" / "graz-1.json")
    findings = check()
    assert {finding["severity"] for finding in findings} == {"note"}
    assert any("not named like a month" in finding["problem"] for finding in findings)


@pytest.mark.parametrize("ending", [".yml", ".JSON"])
def test_a_document_with_another_suffix(check: Check, store: Path, ending: str) -> None:
    """A file that looks like a document but is not read is an error."""
    shutil.copy2(document(store), document(store).with_name(f"extra{ending}"))
    assert "not read, because of its ending" in only(check())["problem"]


def test_files_of_other_programs_are_ignored(check: Check, store: Path) -> None:
    """Notes, hidden files and folders of other programs are not reported."""
    (store / "README.txt").write_text("mine")
    (store / "sessions" / "notes.md").write_text("mine")
    (store / "sessions" / "2026-01" / ".DS_Store").write_text("mine")
    (store / "sessions" / ".stversions").mkdir()
    (store / "sessions" / ".stversions" / "x.json").write_text("mine")
    for path in (store / "sessions" / "notes.md", store / "sessions" / "2026-01" / ".DS_Store"):
        path.chmod(0o600)
    assert check() == []


@posix
def test_a_link_among_the_documents(check: Check, store: Path) -> None:
    """Links are not followed, so their targets are not sessions of the store."""
    (store / "sessions" / "2026-01" / "link.json").symlink_to(document(store))
    (store / "sessions" / "2025-01").symlink_to(store / "sessions" / "2026-01")
    assert [finding["problem"] for finding in check()] == ["is a symbolic link, and links are not followed"] * 2


@posix
def test_a_pipe_instead_of_a_file(check: Check, store: Path) -> None:
    """A named pipe with the name of a document does not block the check."""
    os.mkfifo(store / "sessions" / "2026-01" / "pipe.json", 0o600)
    assert only(check())["problem"] == "is not a regular file"


@posix
@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("sessions/2026-01/graz-1.json", 0o664),
        ("sessions/2026-01", 0o775),
        (".localstore/manifest.jsonl", 0o640),
        ("sessions", 0o750),
    ],
)
def test_permissions_that_allow_other_users(check: Check, store: Path, place: str, mode: int) -> None:
    """Sessions are private, so such permissions are reported."""
    (store / place).chmod(mode)
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("error", str(store / place))
    assert f"{mode:04o}" in finding["problem"]
    right = "700" if (store / place).is_dir() else "600"
    assert finding["advice"] == f"Set it with: chmod {right} {store / place}"


@posix
@pytest.mark.parametrize(("place", "mode"), [("sessions/2026-01/graz-1.json", 0o644), ("sessions/2026-01", 0o755)])
def test_permissions_of_a_checkout_are_a_note(check: Check, store: Path, place: str, mode: int) -> None:
    """Git does not keep permissions: the check of every clone failed."""
    (store / place).chmod(mode)
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(store / place))
    assert f"{mode:04o}" in finding["problem"]


@posix
def test_permissions_that_exclude_the_owner(check: Check, store: Path) -> None:
    """If the owner cannot write to a document, the next run fails."""
    document(store).chmod(0o400)
    assert "keeps you from using it" in only(check())["problem"]


@posix
def test_unreadable_files_do_not_end_the_check(
    store: Path, run: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An unreadable folder and document are named, and the rest is checked."""
    folder, path = store / "sessions" / "2025-01", document(store)
    folder.mkdir(mode=0)
    path.chmod(0)
    request.addfinalizer(lambda: folder.chmod(0o700))
    if os.access(folder, os.R_OK):
        pytest.skip("this user may read everything")
    done = run("check", "--store", store)
    assert done.returncode == 1
    assert f"{folder}\terror\tcannot be listed: Permission denied" in done.stdout
    assert f"{path}\terror\tcannot be read: Permission denied" in done.stdout
    assert done.stderr == "localstore: 3 sessions, 4 errors\n"


@pytest.mark.parametrize(
    "place", ["sessions/2026-01/.graz-1.json.0123456789ab.tmp", ".localstore/.manifest.jsonl.0123456789ab.tmp"]
)
def test_a_leftover_temporary_file(check: Check, store: Path, place: str) -> None:
    """What a killed process wrote may be nowhere else, so the check does not advise deleting it."""
    (store / place).write_text("half")
    os.utime(store / place, (1, 1))
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("error", str(store / place))
    assert finding["advice"] == "Move it to .localstore/rescue with: localstore check --repair"


@ci_only
def test_a_recent_temporary_file_is_not_reported(check: Check, store: Path) -> None:
    """Another process may still be writing it, so the check does not advise deleting it."""
    (store / "sessions" / "2026-01" / ".graz-1.json.0123456789ab.tmp").write_text("half")
    finding = only(check())
    assert finding["advice"] == "Check again in a minute; it may still be in use."
    assert finding["kind"] is None


def test_temporary_files_of_other_programs_are_not_reported(check: Check, store: Path) -> None:
    """Only names that localstore uses count. The check also advised deleting an editor's file."""
    (store / "sessions" / "2026-01" / ".editor.tmp").write_text("mine")
    (store / "sessions" / "2026-01" / ".editor.tmp").chmod(0o600)
    (store / "sessions" / "2026-01" / ".graz-1.json.0123456789ac.tmp").mkdir(mode=0o700)
    assert check() == []


def test_yaml_that_parses_without_its_end_is_torn_only_after_a_restart(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a person typed was reported as torn by a crash, and the next write cut it off."""
    path = document(store, "linz-1")
    torn = path.read_text().removesuffix("...\n")
    path.write_text(torn + '- type: run\n  run_id: r2\n  created_at: "2026-01-02T10:00:01.000Z"\n')
    finding = json.loads(invoke("check", "--json", "--store", store).stdout)[0]
    assert (finding["severity"], finding["problem"]) == ("note", "is valid, but not laid out as localstore writes it")
    restart_machine(store, monkeypatch)
    finding = only(json.loads(invoke("check", "--json", "--store", store).stdout))
    assert (finding["problem"], finding["line"]) == ("was torn by a crash", torn.count("\n") + 1)


def test_a_run_that_was_cut_off_while_it_was_finished_is_torn(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: recovery leaves nothing over here, so without a manifest a document whose answer was cut off was
    reported as valid, with a note about its layout."""
    storage = YamlStorage(store)
    storage.append("linz-1", question("r2", status="unfinished"))
    path = storage.path("linz-1")
    head, status, rest = path.read_text().rpartition("  status: unfinished\n")
    assert (status, rest) == ("  status: unfinished\n", "...\n")
    path.write_text(head + "    - role: assistant\n      content: good d")
    (store / ".localstore/manifest.jsonl").unlink()
    restart_machine(store, monkeypatch)
    torn, manifest = json.loads(invoke("check", "--json", "--store", store).stdout)
    assert (torn["path"], torn["problem"]) == (str(path), "was torn by a crash")
    assert manifest["path"] == str(store / ".localstore/manifest.jsonl")


def test_a_manifest_that_hides_the_state_of_a_session_is_an_error(check: Check, store: Path) -> None:
    """Readers of the last runs take the state from the position in the manifest."""
    JsonStorage(store).update("graz-1", session_state={"a": 1})
    manifest = store / ".localstore/manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    row = json.loads(lines[-1])
    del row["offsets"]
    manifest.write_text("".join([*lines[:-1], json.dumps(row) + "\n"]))
    finding = only(check())
    assert (finding["severity"], finding["kind"]) == ("error", "manifest")
    assert "offsets" in finding["problem"]


@posix
def test_a_manifest_that_is_a_link_does_not_end_the_check(check: Check, store: Path) -> None:
    """The check itself failed if the manifest was a link."""
    manifest = store / ".localstore/manifest.jsonl"
    manifest.rename(store / "elsewhere.jsonl")
    manifest.symlink_to(store / "elsewhere.jsonl")
    assert only(check())["problem"].startswith("is not a regular file")


def test_a_rescue_file_is_a_note(check: Check, store: Path) -> None:
    """A person should look at a run that could not be stored in a broken document."""
    path = document(store)
    text = path.read_text()
    edit(path, '"Graz?"', "Graz?")
    with pytest.raises(ValueError, match="kept in"):
        JsonStorage(store).append("graz-1", Run(messages=[Message(role="user", content="more")]))
    path.write_text(text)
    finding = only(check())
    assert (finding["severity"], Path(finding["path"]).parent) == ("note", store / ".localstore" / "rescue")
    assert finding["advice"] == f"See it with: localstore rescue {Path(finding['path']).name}"


def test_a_deleted_document(check: Check, store: Path) -> None:
    """The manifest has its row until the next listing."""
    path = document(store)
    path.unlink()
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(path))
    assert "gone" in finding["problem"]


def test_a_document_that_is_not_in_the_manifest(check: Check, store: Path) -> None:
    """A file that a person added is valid; the next listing finds it."""
    path = document(store)
    added = path.with_name("added.json")
    added.write_text(path.read_text().replace('"graz-1"', '"added"'))
    added.chmod(0o600)
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(added))
    assert "not in the manifest" in finding["problem"]


def test_a_manifest_that_is_behind_is_a_note(check: Check, store: Path) -> None:
    """After an edit by hand the next listing corrects the manifest."""
    path = document(store)
    edit(path, '"alice"', '"carol"')
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(path))
    assert "user_id" in finding["problem"]


def test_a_manifest_that_is_wrong_is_an_error(check: Check, store: Path) -> None:
    """Readers trust a row that matches the size and time of the file, so a wrong row is an error."""
    manifest = store / ".localstore/manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"user_id":"alice"', '"user_id":"mallory"'))
    findings = check()
    assert len(findings) == 2
    assert all(finding["severity"] == "error" and "user_id" in finding["problem"] for finding in findings)
    assert all("manifest.jsonl" in finding["advice"] for finding in findings)


def test_a_manifest_that_is_missing_is_a_note(check: Check, store: Path) -> None:
    """The manifest is derived from the documents."""
    (store / ".localstore/manifest.jsonl").unlink()
    finding = only(check())
    assert (finding["severity"], finding["path"]) == ("note", str(store / ".localstore/manifest.jsonl"))


def test_an_invalid_line_in_the_manifest(check: Check, store: Path) -> None:
    """The line is skipped and reported with its number."""
    manifest = store / ".localstore/manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([lines[0], "garbage\n", *lines[1:]]))
    finding = only(check())
    assert (finding["severity"], finding["path"], finding["line"]) == ("note", str(manifest), 2)


def test_a_copied_store_says_that_it_is_one_until_it_is_repaired(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """A manifest that was copied from another disk is valid. The copy may become a store of its own."""
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    advice = f"To unite them: localstore merge {store}. To keep it as a store of its own: localstore check --repair"
    assert invoke("check", "--store", copy).stdout == f"{copy}/\tnote\tis a copy of the store at {store}\t{advice}\n"
    assert "Record its place" in invoke("check", "--repair", "--store", copy).stdout
    assert invoke("check", "--store", copy).stdout == "3 sessions, no findings\n"


def test_findings_with_hostile_names_are_one_line(run: Command, store: Path) -> None:
    """Control characters in file names are escaped, as in every other text."""
    if sys.platform == "win32":
        pytest.skip("Windows allows no such names")
    (store / "sessions" / "2026-01" / "a\tb\n\x1b[31m.yml").write_text("x")
    (store / "sessions" / "2026-01" / "a\tb\n\x1b[31m.yml").chmod(0o600)
    done = run("check", "--store", store)
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith(f"{store}/sessions/2026-01/a\\tb\\n\\x1b[31m.yml\terror\t")


def test_a_store_with_active_writers_has_no_findings(store: Path) -> None:
    """Half-written documents and temporary files of active writers are not reported as damage."""
    program = (
        "import sys\n"
        "from localstore import JsonStorage, Message, Run\n"
        "storage = JsonStorage(sys.argv[1], durability='relaxed')\n"
        "print('ready', flush=True)\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    storage.append('busy', Run(messages=[Message(role='user', content='x' * 50_000)]))\n"
        "    storage.update('busy', name=f'name {number}')\n"
        "    if number % 50 == 0: storage.delete_session('busy')\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, store], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        from localstore.maintenance.check import check as sweep

        errors = [finding for _ in range(30) for finding in sweep(JsonStorage(store)) if finding.severity == "error"]
    finally:
        writer.kill()
        writer.communicate()
    assert errors == []


def test_a_session_that_changes_during_the_check_is_no_finding(store: Path) -> None:
    """The manifest may be newer than the document that the check read."""
    from localstore.maintenance.check import check as sweep

    edit(document(store), '"Graz?"', "Graz?")
    findings = iter(sweep(store))
    first = next(findings)
    JsonStorage(store).update("linz-1", name="changed meanwhile")
    assert list(findings) == []
    assert first.path == str(document(store))


def test_a_document_is_read_again_while_it_is_being_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written document is damage only if it stays so."""
    from localstore.disk.document_file import DocumentFile
    from localstore.maintenance.check import check as sweep

    whole = DocumentFile.read_all
    looks: list[str] = []

    def torn_at_first(file: DocumentFile) -> bytes:
        looks.append(str(file.path))
        return whole(file)[: -10 if looks.count(str(file.path)) == 1 else None]

    monkeypatch.setattr(DocumentFile, "read_all", torn_at_first)
    assert list(sweep(store)) == []
    assert len(looks) == 6


@posix
@pytest.mark.parametrize("columns", [40, 100])
def test_findings_on_a_terminal(store: Path, columns: int) -> None:
    """A terminal shows the same findings with colours, and the summary at the end."""
    from .pseudo_terminal import on_terminal

    edit(document(store), '"Graz?"', "Graz?")
    screen = on_terminal("check", cwd=store, columns=columns)
    assert screen.code == 1
    assert "\x1b[1;31m  error: " in screen.raw
    assert "Fix it in an editor." in " ".join(screen.text.split())
    assert screen.lines[-1] == "3 sessions, 1 error"
    assert all(len(line) <= columns for line in screen.lines)


@posix
def test_a_terminal_names_a_file_once_for_all_of_its_findings(store: Path) -> None:
    from .pseudo_terminal import on_terminal

    path = document(store).with_suffix(".yml")
    path.write_text("x: 1\n")
    path.chmod(0o644)
    assert on_terminal("check", cwd=store, columns=300).lines[-7:-2] == [
        str(path),
        "  note: has mode 0644, which gives others access.",
        f"    Set it with: chmod 600 {path}",
        "  error: is not read, because of its ending.",
        "    Rename it to end in .json or .yaml.",
    ]


@posix
def test_very_many_wrong_permissions_are_one_finding(check: Check, store: Path) -> None:
    """All permissions are wrong in a store that git or a copy created. One line per file hid all other findings."""
    for path in [*store.glob("sessions/*/*"), *store.glob("sessions/*"), store / ".localstore/manifest.jsonl"]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    *named, last = [finding for finding in check() if "mode" in finding["problem"]]
    assert len(named) == 3
    assert last["problem"].startswith("has ")
    assert last["advice"] == f"Set them all with: chmod -R u+rwX,go= {store}"


@pytest.mark.parametrize("key", ["header", "entry"])
def test_a_time_in_the_future_is_noted(check: Check, store: Path, key: str) -> None:
    """Nobody was told why the session was sorted above all others."""
    path = document(store)
    session = json.loads(path.read_bytes())
    (session if key == "header" else session["history"][0])["created_at"] = "2999-01-01T00:00:00.000Z"
    path.write_text(json.dumps(session, indent=2) + "\n")
    finding = next(finding for finding in check() if "lies in the future" in finding["problem"])
    assert finding["severity"] == "note"
    where = "created_at" if key == "header" else "history[0].created_at"
    assert finding["problem"].startswith(f"{where}: '2999-01-01T00:00:00.000Z'")
    lines = path.read_text().splitlines()
    start = '  "created_at": "2999-01-01T00:00:00.000Z",' if key == "header" else "    {"
    assert finding["line"] == lines.index(start) + 1


def test_two_runs_with_one_id_are_noted(check: Check, store: Path) -> None:
    """A write looks for the same run only in the newest entries."""
    path = document(store)
    session = json.loads(path.read_bytes())
    session["history"].append(session["history"][0])
    path.write_text(json.dumps(session, indent=2) + "\n")
    assert any("second run with the run_id" in finding["problem"] for finding in check())


def test_an_older_document_is_a_note_with_the_upgrade_command(run: Command, store: Path) -> None:
    path = JsonStorage(store).path("graz-1").with_name("old.json")
    session = {
        "session_id": "old",
        "agent_id": "a",
        "memory": {"runs": []},
        "session_data": {},
        "created_at": 1795331435,
    }
    path.write_text(json.dumps(session))
    path.chmod(0o600)
    JsonStorage(store).list_sessions()
    done = run("check", "--store", store)
    assert done.returncode == 0
    assert [line.split("\t") for line in done.stdout.splitlines() if "old.json" in line] == [
        [
            str(path),
            "note",
            "has schema version 0, which can be read but not written",
            f"Upgrade it with: localstore upgrade {store}",
        ]
    ]


def test_backups_and_trash_keep_their_modes_and_an_interrupted_upgrade_is_named(run: Command, store: Path) -> None:
    path = JsonStorage(store).path("graz-1")
    path.chmod(0o644)
    assert run("rm", "graz-1", "--store", store).returncode == 0
    kept = make(str(store), "upgrade", finished=False)
    other = next(path.parent.glob("*.json"))
    kept.keep(other.relative_to(store).as_posix())
    done = run("check", "--store", store)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[1:3] for line in found if ".localstore" in line[0]] == [
        ["note", "is the backup of an interrupted upgrade"]
    ]


def test_a_word_or_time_that_localstore_does_not_know_is_a_note(check: Check, store: Path) -> None:
    """Such text is kept, and nothing named it: a run with the status "complete" was neither finished nor resumed."""
    path = document(store)
    edit(path, '"status": "completed"', '"status": "complete"')
    edit(path, '"role": "assistant"', '"role": "robot"')
    path.write_text(path.read_text().replace('"created_at": "2026-01-01T10:00:00.000Z"', '"created_at": "new year"', 1))
    findings = check()
    assert {finding["severity"] for finding in findings} == {"note"}
    problems = [finding["problem"] for finding in findings]
    assert any("created_at: 'new year' is not a time" in problem for problem in problems)
    assert any("history[0].status: must be one of " in problem for problem in problems)
    assert any("role: must be one of " in problem for problem in problems)
    assert any("Did you mean 'completed'?" in finding["advice"] for finding in findings)


@pytest.mark.parametrize("content", ["", "{ broken", "<<<<<<< ours"])
def test_a_copy_beside_a_document_that_cannot_be_read_is_named_as_a_copy(
    run: Command, store: Path, content: str
) -> None:
    """The advice was to rename the copy to the name of the document. That would have replaced the document."""
    path = document(store)
    copy = path.with_stem("graz-1 (conflicted copy 2026-01-06)")
    shutil.copy2(path, copy)
    path.write_text(content)
    done = run("check", "--store", store)
    line = (
        f"{copy}\terror\tis a copy of {path}, which cannot be read (a copy made by Dropbox)\t"
        "First follow the advice for that file. Then unite them with: localstore merge"
    )
    assert (done.returncode, done.stdout.splitlines().count(line)) == (1, 1)
    assert f"{copy}\tnote" not in done.stdout
    before = copy.read_bytes()
    assert run("check", "--repair", "--store", store).returncode == 1
    assert (path.read_text(), copy.read_bytes()) == (content, before)


def test_two_documents_with_swapped_names_are_not_to_be_renamed_over_each_other(run: Command, store: Path) -> None:
    path = document(store)
    other = JsonStorage(store).path("vienna-trip")
    path.rename(path.with_suffix(".aside"))
    other.rename(path)
    path.with_suffix(".aside").rename(other)
    done = run("check", "--store", store).stdout
    for name, session in ((path.name, "vienna-trip"), (other.name, "graz-1")):
        advice = f"{name} holds session '{session}'. To find both faster, first give that file a free name, then rename"
        assert advice in done


def test_a_sub_session_without_its_session_is_a_note(check: Check, store: Path) -> None:
    """Listings leave it out, so nobody would see it. A session whose document is broken exists."""
    storage = JsonStorage(store)
    storage.append_items("s/a", [Item(1)], part_of="s")
    finding = only(check())
    assert (finding["severity"], finding["problem"]) == ("note", "is a sub-session of 's', which does not exist")
    assert finding["advice"].endswith("localstore rm s/a")
    storage.append("s", Run())
    assert check() == []
    storage.path("s").write_text("{")
    assert "sub-session" not in str(check())
