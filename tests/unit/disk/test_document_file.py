"""An open document: a read costs no more than its answer, and bytes in another layout are noticed."""

import os
from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken
from localstore.disk.document_file import DocumentFile
from localstore.format.document import LAYOUTS, Layout, LayoutMismatch
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.yaml_layout import LAYOUT as YAML
from tests.unit.watched_disk import WatchedDisk

HEADER = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": "2026-11-22T07:01:20.123Z"}
TIME = "2026-11-22T07:01:20.123Z"


def run(number: int, text: str = "hello\n    {\n- x\n") -> dict[str, Any]:
    return {
        "type": "run",
        "run_id": f"run-{number}",
        "created_at": TIME,
        "messages": [{"role": "user", "content": text}],
    }


def update(number: int) -> dict[str, Any]:
    return {"type": "update", "created_at": TIME, "session_state": {"number": number}}


@pytest.fixture(params=LAYOUTS.values(), ids=["json", "yaml"])
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


def store(folder: Path, layout: Layout, entries: list[dict[str, Any]], header: dict[str, Any] = HEADER) -> str:
    path = folder / f"s1{layout.suffix}"
    path.write_bytes(layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries]))
    return str(path)


def ids(found: list[tuple[int, dict[str, Any]]]) -> list[str]:
    return [entry.get("run_id", "update") for _, entry in found]


def test_the_last_entries_are_read_alone(tmp_path: Path, layout: Layout, disk: WatchedDisk) -> None:
    sizes = []
    for count in (30, 3000):
        path = store(tmp_path, layout, [run(number) for number in range(count)])
        disk.forget()
        with DocumentFile(path) as file:
            found = file.last_entries(3, "run", count)
        assert ids(found) == [f"run-{number}" for number in range(count - 3, count)]
        raw = Path(path).read_bytes()
        assert all(raw[offset:].startswith(layout.entry(entry)) for offset, entry in found)
        sizes.append(disk.size("read"))
    assert sizes[1] <= 16 * 1024
    assert os.path.getsize(path) > 20 * sizes[1]


@pytest.mark.parametrize("length", [10, 5_000, 16_384, 70_000])
def test_entries_of_any_length_are_cut_right(tmp_path: Path, layout: Layout, length: int) -> None:
    entries = [run(number, "x" * (length + number)) for number in range(6)]
    path = store(tmp_path, layout, entries)
    with DocumentFile(path) as file:
        for count in range(8):
            assert [layout.parse_entry(piece) for _, piece in file.tail(count)] == (entries[-count:] if count else [])


def test_a_block_that_ends_anywhere_cuts_right(tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [run(number) for number in range(3)]
    path = store(tmp_path, layout, entries, {**HEADER, "metadata": {"history": [{"a": 1}]}})
    for size in range(len(layout.closing), os.path.getsize(path) + 2):
        monkeypatch.setattr("localstore.disk.document_file._BLOCK", size)
        with DocumentFile(path) as file:
            assert [layout.parse_entry(piece) for _, piece in file.tail(2)] == entries[-2:]
            assert [layout.parse_entry(piece) for _, piece in file.tail(9)] == entries
            assert file.header() == {**HEADER, "metadata": {"history": [{"a": 1}]}}
            offset = file.tail(2)[0][0]
            assert file.entry_at(offset) == entries[1]
            assert file.entry_at(file.tail(1)[0][0]) == entries[2]


def test_updates_between_the_runs_come_along(tmp_path: Path, layout: Layout) -> None:
    entries = [run(0), update(1), run(1), *(update(number) for number in range(20)), run(2), update(3)]
    with DocumentFile(store(tmp_path, layout, entries)) as file:
        assert ids(file.last_entries(1, "run", len(entries))) == ["run-2", "update"]
        assert ids(file.last_entries(2, "run", len(entries))) == ["run-1", *["update"] * 20, "run-2", "update"]
        assert ids(file.last_entries(9, "run", len(entries))) == ids(list(enumerate(entries)))


def test_entries_of_another_type_are_counted_alone(tmp_path: Path, layout: Layout) -> None:
    entries = [run(0), update(1), run(1), update(2), run(2)]
    with DocumentFile(store(tmp_path, layout, entries)) as file:
        assert ids(file.last_entries(2, "update", len(entries))) == ["update", "run-1", "update", "run-2"]
        assert ids(file.last_entries(3, "update", len(entries))) == ids(list(enumerate(entries)))


@pytest.mark.parametrize("length", [10, 300, 50_000])
def test_entries_in_the_middle_are_read_as_if_all_were(tmp_path: Path, layout: Layout, length: int) -> None:
    """A page of runs in the middle of a session parsed all of them up to the end: 400 ms for 10,000 runs."""
    entries = [update(0), run(0), update(1), run(1, "x" * length), update(2), update(3), run(2), run(3), update(4)]
    entries[6]["run_id"] = 'by hand, "quoted"' + "x" * 300  # its id cannot be read without parsing
    with DocumentFile(store(tmp_path, layout, entries)) as file:
        for of, total in (("run", 4), ("update", 5)):
            for count in range(1, 7):
                whole = file.last_entries(count, of, len(entries))
                counted = [at for at, (_, entry) in enumerate(whole) if entry["type"] == of]
                assert len(counted) == min(count, total)
                for most in range(1, 7):
                    end = counted[most] if most < len(counted) else len(whole)
                    assert file.some_entries(count, of, len(entries), most) == whole[:end]


def test_entries_beside_those_in_the_middle_are_not_parsed(tmp_path: Path, layout: Layout) -> None:
    path = Path(store(tmp_path, layout, [run(number) for number in range(50)]))
    raw = path.read_bytes()
    for number in (9, 12, 49):
        entry = layout.entry(run(number))
        broken = entry.replace(b'"user"', b'"user') if layout is JSON else entry.replace(b"user", b"[user")
        assert broken != entry
        raw = raw.replace(entry, broken)
    path.write_bytes(raw)
    with DocumentFile(str(path)) as file:
        assert ids(file.some_entries(40, "run", 50, 2)) == ["run-10", "run-11"]
        with pytest.raises(LayoutMismatch):
            file.some_entries(41, "run", 50, 2)


def test_fewer_entries_than_the_manifest_says_do_not_fit(tmp_path: Path, layout: Layout) -> None:
    with DocumentFile(store(tmp_path, layout, [run(0), run(1)])) as file, pytest.raises(LayoutMismatch):
        file.last_entries(3, "run", 5)


def test_the_header_is_read_alone(tmp_path: Path, layout: Layout, disk: WatchedDisk) -> None:
    header = {**HEADER, "metadata": {"long": "x" * 50_000}}
    for chosen in (HEADER, header):
        path = store(tmp_path, layout, [run(number) for number in range(2000)], chosen)
        disk.forget()
        with DocumentFile(path) as file:
            assert file.header() == chosen
        assert disk.size("read") < os.path.getsize(path) / 2


@pytest.mark.parametrize(
    ("layout", "old", "new"),
    [
        (JSON, b"\n  ]\n}\n", b"\n  ]\n}\n\n"),
        (JSON, b"    },\n    {\n", b"    },\n\n    {\n"),
        (JSON, b'"run_id": "run-2"', b'"run_id": "run-2'),
        (YAML, b"\n...\n", b"\n"),
        (YAML, b"run_id: run-2", b"run_id: [run-2"),
    ],
)
def test_a_tail_that_does_not_fit_is_noticed(tmp_path: Path, layout: Layout, old: bytes, new: bytes) -> None:
    path = Path(store(tmp_path, layout, [run(1), run(2)]))
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new))
    with DocumentFile(str(path)) as file, pytest.raises(LayoutMismatch):
        file.last_entries(2, "run", 2)


def test_a_document_without_a_history_line_has_no_header_to_read_alone(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / f"s1{layout.suffix}"
    path.write_bytes(b"{}")
    with DocumentFile(str(path)) as file:
        with pytest.raises(LayoutMismatch):
            file.header()
        with pytest.raises(LayoutMismatch):
            file.tail(1)


def test_a_link_is_refused(tmp_path: Path, layout: Layout) -> None:
    path = store(tmp_path, layout, [run(1)])
    link = tmp_path / f"link{layout.suffix}"
    link.symlink_to(path)
    with pytest.raises(DocumentBroken, match="is a symbolic link") as caught:
        DocumentFile(str(link))
    assert caught.value.path == str(link)


def test_a_change_since_the_last_look_is_noticed(tmp_path: Path, layout: Layout) -> None:
    path = store(tmp_path, layout, [run(1)])
    with DocumentFile(path) as file:
        assert file.is_unchanged()
        with open(path, "ab") as other:
            other.write(b" ")
        assert not file.is_unchanged()
        file.refresh_status()
        assert file.is_unchanged()


def test_a_missing_document_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DocumentFile(str(tmp_path / "s1.json"))


def test_closing_twice_closes_once(tmp_path: Path, layout: Layout) -> None:
    file = DocumentFile(store(tmp_path, layout, [run(1)]))
    file.close()
    other = os.open(tmp_path, os.O_RDONLY)
    file.close()
    os.close(other)
