"""A process that writes to a store until it is killed: `python -m tests.crash.writer ROOT SUFFIX DURABILITY SEED SIZE`.

A run that grows gets an answer that is streamed (`growing`), with the length of what is there in the ledger.

It says `try` and what before each call, `ok` and the same when the call returned, each on a line that is written at
once. SIZE is the size of a run in bytes, roughly; runs of more than a megabyte are only appended.
"""

import json
import os
import random
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from localstore import JsonStorage, Message, Run, YamlStorage

SESSION = "s"
STORAGES: dict[str, type[JsonStorage] | type[YamlStorage]] = {".json": JsonStorage, ".yaml": YamlStorage}


def sealed(text: str) -> str:
    """A text that tells whether it is whole."""
    return f"{sha256(text.encode()).hexdigest()} {text}"


def is_whole(text: str) -> bool:
    digest, _, rest = text.partition(" ")
    return digest == sha256(rest.encode()).hexdigest()


_GROWS = "streamed: "


def growing(length: int) -> str:
    """The first so many characters of a text that tells of any beginning of it whether it is one."""
    count = length // 2 + 1
    return (_GROWS + "".join(f"{number}{' ' if number % 9 else chr(10)}" for number in range(count)))[:length]


def is_sound(text: str) -> bool:
    """Whether a text is whole, or is what has been streamed of one."""
    return text == growing(len(text)) if text.startswith(_GROWS) else is_whole(text)


def main(root: Path, suffix: str, durability: Literal["full", "relaxed"], seed: int, size: int) -> None:
    chance = random.Random(seed)
    storage = STORAGES[suffix](root, durability=durability, lock_timeout=60)
    number = 0
    while True:
        number += 1
        run_id = f"w{seed}-{number}"
        text = chance.choice(["x y ", "line\n", "ünï 👩 ", '{"a": 1}\n    }\n  ]\n}\n', "- a\n...\n"])
        question = Message(role="user", content=sealed(text * (chance.randint(size // 2, size) // len(text) + 1)))
        answer = Message(role="assistant", content=sealed(f"answer {number}"))
        run = Run(run_id=run_id, messages=[question, answer])
        action = (
            "append"
            if size > 1_000_000 or number == 1
            else chance.choice(["append", "append", "finish", "grow", "grow", "state", "name"])
        )
        if action in ("finish", "grow"):
            before = run.model_copy(update={"messages": [question], "status": "unfinished"})
            _say("try", "append", run_id)
            storage.append(SESSION, before)
            _say("ok", "append", run_id)
        if action == "grow":
            _grow(chance, storage, before)
            answer.content = growing(2_000)
            action = "finish"
        _say("try", action, run_id if action in ("append", "finish") else number)
        if action == "state":
            storage.update(SESSION, session_state={"number": number})
        elif action == "name":
            storage.update(SESSION, name=str(number))
        else:
            storage.append(SESSION, run)
        _say("ok", action, run_id if action in ("append", "finish") else number)


def _grow(chance: random.Random, storage: JsonStorage | YamlStorage, run: Run) -> None:
    """The question, then the answer, piece by piece."""
    asked = run.messages
    length = 0
    while length < 1_500:
        run.messages = [*asked, Message(role="assistant", content=growing(length))] if length else asked
        _say("try", "grow", [run.run_id, length])
        storage.append(SESSION, run)
        _say("ok", "grow", [run.run_id, length])
        length = max(length, len(_GROWS)) + chance.choice((1, 2, 3, 5, 40, 300))


def _say(*words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], "full" if sys.argv[3] == "full" else "relaxed", *map(int, sys.argv[4:6]))
