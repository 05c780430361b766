"""A process that saves a document again and again, as editors do: without a lock, and knowing nothing of localstore.

Usage: python -m tests.crash.editor PATH HOW COUNT PAUSE. Each save adds a key to the mapping `metadata`. It prints
`saved KEY` for each save, and waits for a line on standard input before the first one.
"""

import os
import random
import sys
import time
from pathlib import Path

HOWS = ("rename", "truncate and write", "open, read, truncate and write")


def _with_key(text: bytes, key: str, suffix: str) -> bytes | None:
    """Return the document with one more key, or None if it is not whole at this moment."""
    opening = b'"metadata": {' if suffix == ".json" else b"\nmetadata:\n"
    line = f'\n    "{key}": 1,' if suffix == ".json" else f"  {key}: 1\n"
    return text.replace(opening, opening + line.encode()) if text.count(opening) == 1 else None


def save(path: Path, how: str, key: str) -> bool:
    """Save the document with one more key. Return False if it is not there, or not whole, at this moment."""
    try:
        if how == "open, read, truncate and write":
            with path.open("r+b") as file:
                text = _with_key(file.read(), key, path.suffix)
                if text is not None:
                    file.seek(0)
                    file.truncate()
                    file.write(text)
                return text is not None
        text = _with_key(path.read_bytes(), key, path.suffix)
    except FileNotFoundError:
        return False
    if text is None:
        return False
    if how == "rename":
        other = path.with_name(f"{path.name}~")
        other.write_bytes(text)
        other.replace(path)
    else:
        path.write_bytes(text)
    return True


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    path, how, count, pause = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    chance = random.Random(how)
    _tell("ready")
    sys.stdin.readline()
    number = 0
    while number < count:
        time.sleep(pause * chance.random())
        if save(path, how, f"k{os.getpid()}_{number}"):
            _tell(f"saved k{os.getpid()}_{number}")
            number += 1


if __name__ == "__main__":
    main()
