"""No character of a document that a terminal acts on reaches the output of any command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Metrics, Run, ToolCall
from tests.effort import ci_only

Invoke = Callable[..., Result]
ACTED_ON = (
    "\x00\x07\x0b\x1b\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\u206a\u206f\ufeff\ufff9\ufffb"
)
ODD = f"a{ACTED_ON}b"
COMMANDS = [
    ("ls",),
    ("ls", "--json"),
    ("search", "a*"),
    ("search", "a*", "--json"),
    ("show", "odd"),
    ("show", "odd", "--json"),
    ("path", "odd"),
    ("state", "odd"),
    ("state", "odd", "--yaml"),
    ("check",),
    ("rescue",),
    ("restore",),
    ("rename", "odd", ODD),
    ("tag", "odd", ODD),
    ("rate", "odd", "1", "good"),
    ("show", ODD),
]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a store in which each text has characters that a terminal acts on."""
    storage = JsonStorage(tmp_path / "store")
    call = ToolCall(id="1", name=ODD, arguments={ODD: ODD})
    messages = [
        Message(role="user", content=ODD),
        Message(role="assistant", tool_calls=[call]),
        Message(role="tool", tool_call_id="1", content=ODD),
        Message(role="assistant", content=ODD),
    ]
    run = Run(messages=messages, model=ODD, status="error", error=ODD, session_state={ODD: ODD}, metrics=Metrics())
    storage.append("odd", run, user_id=ODD, entity_id=ODD)
    storage.update("odd", name=ODD, tags=[ODD], instructions=ODD, session_summary=ODD)
    storage.append(ODD, Run(run_id=ODD, messages=messages))
    storage.path(ODD).with_name(f"c{ODD[2:]}.json").write_text("{")
    return storage.root


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: " ".join(args).partition("a\0")[0])
def test_in_a_pipe(invoke: Invoke, odd: Path, args: tuple[str, ...]) -> None:
    done = invoke(*args, "--store", odd)
    assert done.stdout + done.stderr
    assert not set(ACTED_ON) & set(done.stdout + done.stderr)


@ci_only
@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: " ".join(args).partition("a\0")[0])
def test_on_a_terminal(odd: Path, args: tuple[str, ...]) -> None:
    from .pseudo_terminal import on_terminal

    safe = [arg.replace("\0", "") for arg in args]
    screen = on_terminal(*safe, "--store", odd, cwd=odd)
    assert not set(ACTED_ON) & set(screen.text)
