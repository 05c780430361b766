"""Runs that tell whether they are whole, in which version they are, and who made them in which order.

A run's id is `SLOT-GENERATION-NUMBER-FATE`: the process that made it, its number there, and `keep` or `fleeting` (its
maker may remove it again). Version 0 is the unfinished run; each later change of the answer is one more. What a run
says follows from its id and its version alone, so that another process can make the same run again.
"""

import random
from typing import Any

from localstore import Message, Run
from tests.crash.writer import is_whole, sealed

Item = tuple[str, int]
"""The id of an entry, and its version. An update of the state is an item of version 1."""

_TEXTS = ("x y ", "line\n", "ünï 👩 ", '{"a": 1}\n    }\n  ]\n}\n', "- a\n...\n", "  status: completed\n")


def made(run_id: str, version: int, size: int) -> Run:
    """The run in one version, of `size` bytes, roughly."""
    chance = random.Random(run_id)
    text = chance.choice(_TEXTS)
    question = sealed(f"{run_id} {text * (chance.randint(size // 8, size) // len(text.encode()) + 1)}")
    messages = [Message(role="user", content=question)]
    if version:
        messages.append(Message(role="assistant", content=sealed(f"{version} {run_id}")))
    return Run(run_id=run_id, messages=messages, status="completed" if version else "unfinished")


def items_of(history: list[dict[str, Any]]) -> list[Item]:
    """What the entries of a history are. Raises ValueError for half a run."""
    return [_item_of(entry) for entry in history]


def _item_of(entry: dict[str, Any]) -> Item:
    if entry["type"] == "update":
        return entry["session_state"]["id"], 1
    run_id = entry["run_id"]
    texts = [message["content"] for message in entry.get("messages", [])]
    version = int(texts[1].split(" ")[1]) if len(texts) == 2 else 0
    expected = ["completed", "unfinished"][len(texts) == 1]
    # What it says follows from its id, so that a piece of another run is noticed as well.
    named = [text.split(" ")[place + 1] for place, text in enumerate(texts)]
    if not texts or not all(map(is_whole, texts)) or {*named} != {run_id} or entry["status"] != expected:
        raise ValueError(f"half of {run_id}: {texts!r:.300}")
    return run_id, version


def maker(item_id: str) -> str:
    return item_id.split("-")[0]


def place(item_id: str) -> tuple[int, int]:
    """The order in which one slot made its items."""
    _, generation, number, _ = item_id.split("-")
    return int(generation), int(number)


def is_fleeting(item_id: str) -> bool:
    return item_id.endswith("-fleeting")
