"""What people and other programs do to a store with an editor or a file manager."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests import oracle


def locate(root: Path, session_id: str) -> Path:
    """The document of a session, found without localstore. Raises LookupError."""
    for path in oracle.document_paths(root):
        try:
            if oracle.parse(path).header["session_id"] == session_id:
                return path
        except ValueError:
            continue
    raise LookupError(session_id)


def write_in_place(path: Path, raw: bytes) -> None:
    """Save as an editor does that keeps the file. The time of a file moves in steps of some milliseconds, and nobody
    types that fast after a write of ours: go on until it moved."""
    before = path.stat().st_ctime_ns
    path.write_bytes(raw)
    while path.stat().st_ctime_ns == before:
        os.utime(path)


def write_by_rename(path: Path, raw: bytes) -> None:
    """Save as an editor does that writes another file and renames it."""
    other = path.with_name(f".{path.name}.swp")
    other.write_bytes(raw)
    os.replace(other, path)


def move(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    os.replace(path, target)


def rename_session(raw: bytes, suffix: str, session_id: str) -> bytes:
    """The bytes of a document with another id, which consists of letters, digits and hyphens."""
    if suffix == ".json":
        return json.dumps(json.loads(raw) | {"session_id": session_id}, indent=2, ensure_ascii=False).encode()
    return re.sub(rb"(?m)^session_id: .*\n(?:(?: .*)?\n)*", f"session_id: {session_id}\n".encode(), raw, count=1)


def damage_header(raw: bytes) -> bytes:
    return b"@@@" + raw


def damage_entry(raw: bytes) -> bytes:
    """Break the first entry of a document that has one, in JSON and in YAML."""
    place = raw.index(b"type", raw.index(b"history"))
    return raw[:place] + b't"y: [pe' + raw[place + 4 :]


def styles(suffix: str) -> list[str]:
    return sorted(_JSON if suffix == ".json" else _YAML)


def restyle(raw: bytes, suffix: str, style: int) -> bytes:
    """The same session in another layout."""
    table = _JSON if suffix == ".json" else _YAML
    return table[sorted(table)[style % len(table)]](raw)


def layouts(suffix: str) -> dict[str, Callable[[bytes], bytes]]:
    """By name, all layouts of a document whose texts are plain words: PyYAML writes some others as numbers."""
    return _JSON | _JSON_OF_PLAIN_WORDS if suffix == ".json" else _YAML | _YAML_OF_PLAIN_WORDS


def _dump(raw: bytes, **how: Any) -> bytes:
    return json.dumps(json.loads(raw), **how).encode()


def _dump_yaml(raw: bytes, **how: Any) -> bytes:
    text: str = yaml.safe_dump(yaml.safe_load(raw), **{"sort_keys": False, "allow_unicode": True, **how})
    return text.encode()


def _history_first(raw: bytes) -> bytes:
    value = json.loads(raw)
    return json.dumps({"history": value.pop("history"), **value}, indent=2, ensure_ascii=False).encode()


def _crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _with_mark(raw: bytes) -> bytes:
    return b"\xef\xbb\xbf" + raw.removeprefix(b"\xef\xbb\xbf")


_JSON = {
    "byte order mark": _with_mark,
    "compact": lambda raw: _dump(raw.removeprefix(b"\xef\xbb\xbf"), separators=(",", ":")),
    "crlf": _crlf,
    "history first": lambda raw: _history_first(raw.removeprefix(b"\xef\xbb\xbf")),
    "indented by four, ASCII": lambda raw: _dump(raw.removeprefix(b"\xef\xbb\xbf"), indent=4),
    "more line breaks": lambda raw: raw + b"\n\n",
    "our own once more": lambda raw: _dump(raw.removeprefix(b"\xef\xbb\xbf"), indent=2, ensure_ascii=False) + b"\n",
}
_YAML = {
    "byte order mark": _with_mark,
    "comment above an entry": lambda raw: re.sub(rb"(?m)^- type:", b"# a note\n- type:", raw, count=1),
    "comment at the end": lambda raw: re.sub(rb"(?m)^\.\.\.", b"# the end\n...", raw, count=1),
    "comment in an entry": lambda raw: re.sub(rb"(?m)^  created_at:", b"# why\n  created_at:", raw, count=1),
    "comment in the header": lambda raw: re.sub(rb"(?m)^kind:", b"# the kind\nkind:", raw, count=1),
    "comment on a line": lambda raw: re.sub(rb"(?m)^(kind: \w+)", rb"\1 # mine", raw, count=1),
    "crlf": _crlf,
    "indented comment": lambda raw: re.sub(rb"(?m)^  created_at:", b"  # inner\n  created_at:", raw, count=1),
    "no end marker": lambda raw: re.sub(rb"(?m)^\.\.\.\r?\n\Z", b"", raw),
}
_JSON_OF_PLAIN_WORDS = {
    "history not last": lambda raw: _history_not_last(json.loads(raw), json.dumps),
    "keys sorted": lambda raw: _dump(raw, indent=2, ensure_ascii=False, sort_keys=True) + b"\n",
    "no line break at the end": lambda raw: raw.removesuffix(b"\n"),
    "short lists on one line": lambda raw: re.sub(rb"\{\s+(\"role\": .*)\s+(\"content\": .*)\s+\}", rb"{ \1 \2 }", raw),
}
_YAML_OF_PLAIN_WORDS = {
    "compact": lambda raw: _dump_yaml(raw, default_flow_style=True, width=10**6),
    "history not last": lambda raw: _history_not_last(yaml.safe_load(raw), yaml.safe_dump),
    "indented by four, ASCII": lambda raw: _dump_yaml(raw, indent=4, allow_unicode=False),
    "keys sorted": lambda raw: _dump_yaml(raw, sort_keys=True),
    "more line breaks": lambda raw: raw + b"\n\n",
    "no line break at the end": lambda raw: raw.removesuffix(b"\n"),
    "short lists on one line": lambda raw: re.sub(
        rb"- role: (.*)\n +content: (.*)", rb"- {role: \1, content: \2}", raw
    ),
    "the history indented": lambda raw: _indented_history(raw.removesuffix(b"...\n")),
}


def _history_not_last(value: dict[str, Any], dump: Callable[[Any], str]) -> bytes:
    kind = value.pop("kind")
    return dump({**value, "kind": kind}).encode()


def _indented_history(raw: bytes) -> bytes:
    head, opening, history = raw.partition(b"history:\n")
    return head + opening + re.sub(rb"(?m)^(?=.)", b"  ", history)
