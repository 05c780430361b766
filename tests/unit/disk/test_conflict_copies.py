"""The names that sync tools and file managers give to copies, and to files that are still arriving."""

import pytest

from localstore.disk.conflict_copies import copy_name, document_in_icloud, writing_tool
from localstore.disk.file_names import stem
from tests.unit.disk.test_file_names import HOSTILE, ORDINARY

COPIES = {
    "trip (conflicted copy 2026-01-02)": "Dropbox",
    "trip (Ann's conflicted copy 2026-01-02)": "Dropbox",
    "trip (Ann's conflicted copy 2026-01-02 (1))": "Dropbox",
    "trip (In Konflikt stehende Kopie von Ann 2026-01-02)": "Dropbox",
    "trip (Copie en conflit de Ann 2026-01-02)": "Dropbox",
    "trip (Copia en conflicto de Ann 2026-01-02)": "Dropbox",
    "trip (Ann の競合コピー 2026-01-02)": "Dropbox",
    "trip (conflicted copy 2026-01-02 101500)": "Nextcloud or ownCloud",
    "trip (conflicted copy Ann 2026-01-02 101500)": "Nextcloud or ownCloud",
    "trip_conflict-20260102-101500": "ownCloud",
    "trip_conflict-Ann-20260102-101500": "ownCloud",
    "trip.sync-conflict-20260102-101500-ABCDEFG": "Syncthing",
    "trip.sync-conflict-20260102-101500": "Syncthing",
    "trip (conflicted)": "pCloud",
    "trip [conflicted]": "pCloud",
    "trip-LAPTOP": "OneDrive",
    "trip-LAPTOP-2": "OneDrive",
    "trip-DESKTOP-1A2B3C4": "OneDrive",
    "trip-Anns-MacBook-Pro": "OneDrive",
    "trip 2": "iCloud",
    "trip (1)": "Google Drive or a browser",
    "trip(1)": "Google Drive or a browser",
    "trip (2026-01-02 10_15_00)": "Google Drive",
    "trip - Copy": "Windows or another file manager",
    "trip - Copy (2)": "Windows or another file manager",
    "trip - Kopie": "Windows or another file manager",
    "trip copy": "macOS or another file manager",
    "trip copy 2": "macOS or another file manager",
    "trip (copy)": "macOS or another file manager",
    "trip (another copy)": "macOS or another file manager",
    "trip (3rd copy)": "macOS or another file manager",
    "Copy of trip": "Google Drive or a file manager",
    "Copy (2) of trip": "Google Drive or a file manager",
    "Kopie von trip": "Google Drive or a file manager",
}


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_names_its_tool_and_its_original(name: str, suffix: str) -> None:
    assert copy_name(f"{name}{suffix}") == (COPIES[name], f"trip{suffix}")


@pytest.mark.parametrize("session_id", [*ORDINARY, *HOSTILE, "trip-2", "trip-laptop", "a.sync"])
def test_the_name_of_a_document_is_not_that_of_a_copy(session_id: str) -> None:
    assert copy_name(f"{stem(session_id)}.json") is None
    assert writing_tool(f"{stem(session_id)}.json") is None
    assert document_in_icloud(f"{stem(session_id)}.json") is None


@pytest.mark.parametrize(
    "name", ["mine.json", "My trip to Vienna.json", "trip (1).txt", "trip (1)", "(1).json", "copy.json"]
)
def test_any_other_name_is_not_that_of_a_copy(name: str) -> None:
    assert copy_name(name) is None


def test_a_copy_of_a_copy_names_the_copy() -> None:
    name = copy_name("trip (1).sync-conflict-20260102-101500-ABCDEFG.json")
    assert name is not None
    assert name.original == "trip (1).json"
    assert copy_name(name.original) == ("Google Drive or a browser", "trip.json")


ARRIVING = {
    ".syncthing.trip.json.tmp": "Syncthing",
    "~syncthing~trip.json.tmp": "Syncthing",
    ".trip.json.~1a2b3c": "Nextcloud or ownCloud",
    ".trip.yaml.Xy12Zz": "rsync",
    "trip.json.part": "a browser or a download",
    "trip.json.crdownload": "a browser or a download",
    "trip.json.1a2b3c4d.partial": "rclone or a browser",
    "trip.json.!sync": "Resilio Sync",
    ".unison.trip.json.1a2b.unison.tmp": "Unison",
    "~$trip.json": "an office program that has it open",
    ".~lock.trip.json#": "an office program that has it open",
    ".nfs0000000000a1b2c300000001": "NFS, where a removed file is still open",
}


@pytest.mark.parametrize("name", ARRIVING)
def test_the_temporary_file_of_a_tool_is_recognised(name: str) -> None:
    assert writing_tool(name) == ARRIVING[name]


@pytest.mark.parametrize("name", [".trip.json.0123456789ab.tmp", "trip.json", ".trip.json.icloud", ".trip.swp", "part"])
def test_other_files_are_not_taken_for_temporary_ones(name: str) -> None:
    assert writing_tool(name) is None


def test_the_placeholder_of_icloud_names_the_document() -> None:
    assert document_in_icloud(".trip.json.icloud") == "trip.json"
    assert document_in_icloud("trip.json.icloud") is None
