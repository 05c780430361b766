"""Looking at a document takes time in proportion to its size, however it is broken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localstore import JsonStorage, LocalstoreError, Message, Run, YamlStorage
from localstore.format.document import LAYOUTS, Layout, parse_document
from localstore.format.recovery import PowerCut, RecordedState, parse_or_recover, recover_entries
from localstore.maintenance.check import check
from localstore.maintenance.document_checks import repeated_runs, wrong_fields
from localstore.maintenance.git_merge import unite_sides
from localstore.models.schema import SCHEMA_VERSION
from tests.effort import sampled
from tests.linear_time import assert_linear

JSON, YAML = LAYOUTS[".json"], LAYOUTS[".yaml"]
TIME = "2026-11-22T07:01:20.123Z"
HEADER = {"schema_version": SCHEMA_VERSION, "session_id": "s1", "kind": "agent", "created_at": TIME}
RUN = {"type": "run", "run_id": "r1", "created_at": TIME, "messages": [{"role": "user", "content": "hi"}]}

JSON_HEAD = JSON.head(HEADER)
YAML_HEAD = YAML.head(HEADER)
JSON_RUN = JSON.entry({**RUN, "status": "completed"})
YAML_RUN = YAML.entry({**RUN, "status": "completed"})
JSON_BEGUN = b',\n    {\n      "type": "run",\n      "run_id": "r2",\n      "created_at": "x",\n      "messages": [\n'
YAML_BEGUN = b"- type: run\n  run_id: r2\n  created_at: x\n  messages:\n"

BROKEN_JSON: dict[str, tuple[bytes, bytes, bytes, int]] = {
    "entries without an end": (JSON_HEAD, b"    {\n", b"", 10_000),
    "entries with one end": (JSON_HEAD, b"    {\n", JSON.closing, 10_000),
    "entries that are empty": (JSON_HEAD, b"    {\n    }\n", b"", 5_000),
    "an append and entries without an end": (JSON_HEAD + JSON_RUN, b',\n    {\n      "type"\n', b"", 10_000),
    "items that do not parse": (
        JSON_HEAD + JSON_RUN + JSON_BEGUN + b"        {",
        b"\n        },\n        {",
        b"",
        5_000,
    ),
    "keys in the wrong place": (JSON_HEAD + JSON_RUN + JSON_BEGUN + b'{"a": 1', b',\n      "k": 1', b"", 5_000),
    "zeros before entries": (JSON_HEAD + JSON_RUN, b"\0    {\n", b"", 10_000),
    "zeros": (JSON_HEAD + JSON_RUN, b"\0", b"", 200_000),
    "brackets": (JSON_HEAD, b"[", b"", 200_000),
    "ends of the document": (JSON_HEAD + JSON_RUN, JSON.end, b"", 20_000),
}
BROKEN_YAML: dict[str, tuple[bytes, bytes, bytes, int]] = {
    "empty entries": (YAML_HEAD, b"- \n", b"", 2_000),
    "entries in one line": (YAML_HEAD, b"- ", b"", 50_000),
    "comments in an entry": (YAML_HEAD + YAML_RUN, b"# c\n", b"  x: [\n", 5_000),
    "comments and empty lines in an entry": (YAML_HEAD + YAML_RUN, b"#\n\n", b"  x: [\n", 5_000),
    "comments behind an entry": (YAML_HEAD + YAML_RUN, b"# c\n", b"\0", 50_000),
    "ends of the document": (YAML_HEAD + YAML_RUN, b"...\n# c\n", b"", 20_000),
    "documents": (YAML_HEAD + YAML_RUN, b"---\n", b"", 20_000),
    "zeros before entries": (YAML_HEAD + YAML_RUN, b"\0- ", b"", 5_000),
    "zeros": (YAML_HEAD + YAML_RUN, b"\0", b"", 200_000),
    "brackets": (YAML_HEAD + b"- ", b"[", b"", 200_000),
    "items that do not parse": (
        YAML_HEAD + YAML_RUN + YAML_BEGUN,
        b"    - role: user\n      content: [\n",
        b"",
        500,
    ),
    "items after an invalid one": (
        YAML_HEAD + YAML_RUN + YAML_BEGUN + b"    - rule: user\n",
        b"    - role: user\n",
        b"",
        500,
    ),
}
CASES = sampled([
    pytest.param(layout, *parts, id=f"{layout.suffix[1:]}: {name}")
    for layout, broken in ((JSON, BROKEN_JSON), (YAML, BROKEN_YAML))
    for name, parts in broken.items()
], 3)  # fmt: skip


def power_cuts(layout: Layout) -> Iterator[PowerCut | None]:
    """Yield what may be known of the document before it broke: no power cut, or what the manifest had recorded."""
    head, run = (JSON_HEAD, JSON_RUN) if layout is JSON else (YAML_HEAD, YAML_RUN)
    size = len(head + run + layout.end)
    yield None
    yield PowerCut(None)
    yield PowerCut(RecordedState("s1", size, 1, unfinished=False))
    yield PowerCut(RecordedState("s1", size, 1, unfinished=True))
    yield PowerCut(RecordedState("s1", size, 1, unfinished=False, may_lack=True))


@pytest.mark.parametrize(("layout", "begin", "part", "end", "count"), CASES)
def test_a_broken_document_takes_linear_time(layout: Layout, begin: bytes, part: bytes, end: bytes, count: int) -> None:
    """600 KB of lines that start an entry kept a reader busy for many seconds, and 18 MB for minutes."""

    def work(size: int) -> Callable[[], None]:
        raw = begin + part * size + end

        def do() -> None:
            for power_cut in power_cuts(layout):
                try:
                    parse_or_recover(raw, layout, "s1", (), power_cut)
                except LocalstoreError:
                    continue
            recover_entries(raw, layout)

        return do

    assert_linear(work, count)


@pytest.mark.parametrize("storage_class", [JsonStorage, YamlStorage])
def test_every_call_on_a_broken_document_takes_linear_time(
    storage_class: type[JsonStorage] | type[YamlStorage], tmp_path: Path
) -> None:
    """`ls`, `show`, `append` and `check` each took quadratic time for a document with many starts of entries."""

    def work(size: int) -> Callable[[], None]:
        root = tmp_path / f"store-{size}"
        storage = storage_class(root)
        storage.append("s1", Run(messages=[Message(role="user", content="hi")]))
        path = storage.path("s1")
        start = b"    {\n" if path.suffix == ".json" else b"-\t[\n"
        path.write_bytes(path.read_bytes() + start * size)

        def do() -> None:
            fresh = storage_class(root)
            fresh.list_sessions()
            for call in (lambda: fresh.read("s1"), lambda: fresh.append("s1", Run()), lambda: list(check(fresh))):
                try:
                    call()
                except LocalstoreError:
                    continue

        return do

    assert_linear(work, 5_000)


@pytest.mark.parametrize("layout", [JSON, YAML])
def test_the_lines_of_findings_take_linear_time(layout: Layout) -> None:
    """`check` counted the lines from the beginning of the document for each repeated run and each wrong field."""

    def work(size: int) -> Callable[[], None]:
        entry = layout.entry({**RUN, "metrics": "none", "status": "completed"})
        parsed = parse_document(layout.assemble(layout.head(HEADER), [entry] * size), layout, "s1")

        def do() -> None:
            assert len(list(repeated_runs("s1", parsed))) == size - 1
            assert len(list(wrong_fields("s1", parsed))) == 11

        return do

    assert_linear(work, 2_000 if layout is JSON else 500)


@pytest.mark.parametrize("layout", [JSON, YAML])
def test_conflicts_of_git_take_linear_time(layout: Layout) -> None:
    """Those that cannot be united, and headers with many keys of which one stands twice."""

    def work(size: int) -> Callable[[], None]:
        document = layout.assemble(layout.head({**HEADER, **{f"key{n}": n for n in range(size)}}), [layout.entry(RUN)])
        conflicts = document + b"<<<<<<< HEAD\n=======\n>>>>>>> side\n" * size
        key = b'  "key0": 0,\n' if layout is JSON else b"key0: 0\n"

        def do() -> None:
            assert unite_sides(conflicts + b"broken", layout, "s1") is None
            assert unite_sides(document.replace(key, key + key), layout, "s1") is not None

        return do

    assert_linear(work, 1_000)
