"""Documents and stores as raw files, read and changed by parsers and calls that are not ours."""

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from localstore import JsonStorage, Message, Run, YamlStorage
from tests.effort import IS_DEFAULT

Storage = JsonStorage | YamlStorage
_YAML: Any = yaml.CSafeLoader if IS_DEFAULT else yaml.SafeLoader


def question(run_id: str, text: str = "hello", **more: Any) -> Run:
    """A run of one message."""
    return Run(run_id=run_id, messages=[Message(role="user", content=text)], **more)


def answered(run_id: str, text: str = "hello", answer: str = "good day", **more: Any) -> Run:
    """The same run with its answer."""
    run = question(run_id, text, **more)
    run.messages.append(Message(role="assistant", content=answer))
    return run


def parse(path: Path) -> dict[str, Any]:
    """A document as a parser of the world reads it: `json`, or PyYAML's safe loader.

    At the default level PyYAML reads with libyaml, which takes a tenth of the time.
    """
    text = path.read_text(encoding="utf-8-sig")
    value = json.loads(text) if path.suffix == ".json" else yaml.load(text, _YAML)  # noqa: S506
    assert isinstance(value, dict)
    return value


def run_ids(path: Path) -> list[str]:
    """The ids of the runs in a document."""
    return [entry["run_id"] for entry in parse(path)["history"] or [] if entry["type"] == "run"]


def edit(path: Path, old: str, new: str) -> None:
    """Change the one place of a document that says `old`, in place, as some editors do."""
    text = path.read_bytes().decode()
    assert text.count(old) == 1, text
    path.write_bytes(text.replace(old, new).encode())


def edit_by_rename(path: Path, old: str, new: str) -> None:
    """The same by a new file that takes the name of the old one, as vim and VS Code do."""
    text = path.read_bytes().decode()
    assert text.count(old) == 1, text
    other = path.with_name(f"{path.name}~new")
    other.write_bytes(text.replace(old, new).encode())
    os.replace(other, path)


def opening_of_history(path: Path) -> str:
    """The line that opens the history."""
    return '  "history": [\n' if path.suffix == ".json" else "history:\n"


def rescued(storage: Storage) -> list[dict[str, Any]]:
    """What was set aside, oldest first."""
    folder = storage.root / ".localstore" / "rescue"
    paths = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime_ns) if folder.exists() else []
    return [json.loads(path.read_bytes()) for path in paths]


def manifest_lines(storage: Storage) -> list[dict[str, Any]]:
    """The lines of the manifest that are JSON objects."""
    return [json.loads(line) for line in (storage.root / ".localstore/manifest.jsonl").read_bytes().splitlines()]


def in_our_layout(path: Path) -> bool:
    """Whether a document is laid out as the format says, judged by its lines alone."""
    text = path.read_bytes().decode()
    entries = len(parse(path)["history"])
    if path.suffix == ".yaml":
        starts = len(re.findall(r"(?m)^- ", text))
        return text.endswith("\n...\n") and "\nhistory:\n- " in text and starts == entries and "\r" not in text
    starts = len(re.findall(r"(?m)^    \{$", text.partition('\n  "history": [\n')[2]))
    return text.endswith("\n    }\n  ]\n}\n") and starts == entries and text.startswith("{\n")
