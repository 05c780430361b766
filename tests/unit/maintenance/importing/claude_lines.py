"""Builds files in the shape of Claude Code's."""

import json
from pathlib import Path
from typing import Any

SESSION = "0c5a1f9e-6f0e-4f4e-9f5c-3f1d2b7a8c10"


class ClaudeFile:
    """The lines of one session. Each line is the child of the one before it, unless it names another parent."""

    def __init__(self, session_id: str = SESSION) -> None:
        self.session_id = session_id
        self.lines: list[str] = []
        self.last: str | None = None

    def add(self, kind: str, name: str, message: dict[str, Any] | None = None, **keys: Any) -> str:
        """Add a line with the uuid `name`."""
        number = len(self.lines)
        line: dict[str, Any] = {
            "parentUuid": self.last,
            "isSidechain": False,
            "userType": "external",
            "cwd": "/home/alice/work",
            "sessionId": self.session_id,
            "version": "2.0.14",
            "gitBranch": "main",
            "type": kind,
        }
        if message is not None:
            line["message"] = message
        line |= {"uuid": name, "timestamp": f"2026-11-22T07:{number // 60:02}:{number % 60:02}.123Z", **keys}
        self.lines.append(json.dumps(line, ensure_ascii=False))
        if not line["isSidechain"]:
            self.last = name
        return name

    def asks(self, name: str, text: str, **keys: Any) -> str:
        """Add a question of the user."""
        return self.add("user", name, {"role": "user", "content": text}, **keys)

    def says(self, name: str, *blocks: Any, answer: str | None = None, tokens: int = 10, **keys: Any) -> str:
        """Add a line of the model. A text is a block of type text."""
        content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
        usage = {
            "input_tokens": 3,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 100,
            "output_tokens": tokens,
        }
        message = {
            "id": answer or f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": content,
            "usage": usage,
        }
        return self.add("assistant", name, message, requestId="req_1", **keys)

    def returns(self, name: str, call: str, text: str, **keys: Any) -> str:
        """Add the result of a tool call."""
        block = {"type": "tool_result", "tool_use_id": call, "content": text}
        return self.add("user", name, {"role": "user", "content": [block]}, **keys)

    def write(self, folder: Path) -> Path:
        """Write the file of the session."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.session_id}.jsonl"
        path.write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8", errors="surrogatepass")
        return path


def calls(call: str, name: str, **arguments: Any) -> dict[str, Any]:
    """Return the block of a tool call."""
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}
