"""How long the first piece of an answer is on its way to the terminal.

.venv/bin/python -m tests.benchmarks.first_token

A server on loopback writes the first piece of an answer; a real pseudo-terminal shows it. The time between the two is
taken, for some questions in one `localstore chat`, with and without a chunk before it that brings no text. Beside it
the least that it can be: the `openai` package alone, which prints each piece at once.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.cli.conftest import ENTRY_POINT
from tests.cli.pseudo_terminal import ChatSession
from tests.scripted_server import Reply, chunk, scripted_server, stream

QUESTIONS = 20
THINKING = 0.3
"""Seconds between a question and the first piece: the terminal is at rest then."""

_ALONE = """
from openai import OpenAI
client = OpenAI(api_key="none")
while True:
    question = [{"role": "user", "content": input("> ")}]
    for chunk in client.chat.completions.create(model="m", messages=question, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)
    print()
"""


def times(command: list[str | Path], before: bool) -> list[float]:
    """Milliseconds from the server's write to the terminal, for each question."""
    written: list[float] = []

    def write_soon() -> None:
        time.sleep(THINKING)
        written.append(time.perf_counter())

    def answer(number: int) -> Reply:
        role = [chunk({"role": "assistant", "content": ""})] if before else []
        return stream(*role, write_soon, f"Piece-{number} comes first", ", and **this** is more.")

    taken = []
    script = [answer(number) for number in range(QUESTIONS)]
    with tempfile.TemporaryDirectory() as folder, scripted_server(*script) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "", "LOCALSTORE_DIR": folder}
        with ChatSession(*command, cwd=Path(folder), env=environment) as talk:
            talk.wait_for_prompt()
            for number in range(QUESTIONS):
                talk.type("q\r")
                talk.wait_for(f"Piece-{number} ")
                taken.append((time.perf_counter() - written[number]) * 1000)
                talk.wait_for("more.")
                talk.wait_for_prompt()
    return taken


def main() -> None:
    commands: dict[str, list[str | Path]] = {
        "localstore chat": [ENTRY_POINT, "chat"],
        "openai alone": [sys.executable, "-c", _ALONE],
    }
    for name, command in commands.items():
        for before in (True, False):
            first, *later = times(command, before)
            said = f"first question {first:5.2f}, later median {statistics.median(later):5.2f}, max {max(later):5.2f}"
            print(f"{name:16}  {'after a chunk without text' if before else 'the very first chunk':26}  {said} ms")


if __name__ == "__main__":
    main()
