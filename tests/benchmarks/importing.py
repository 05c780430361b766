"""Imports: the processor time to import sessions of Claude Code for the first and for a second time.

    python -m tests.benchmarks.importing [--sessions 1000] [--questions 5] [--folder DIR]

Each question has four rounds of tools, whose results are stored twice, as Claude Code does. Words are made up.
"""

import argparse
import gc
import random
import tempfile
import time
import uuid
from pathlib import Path

from localstore import JsonStorage
from tests.benchmarks.search import Texts
from tests.unit.maintenance.importing.claude_lines import ClaudeFile, calls


def session(texts: Texts, questions: int) -> ClaudeFile:
    """Return a session with so many questions."""
    file = ClaudeFile(str(uuid.UUID(int=texts.chance.getrandbits(128))))

    def name() -> str:
        return str(uuid.UUID(int=texts.chance.getrandbits(128)))

    for _ in range(questions):
        file.asks(name(), texts.prose(30))
        for _ in range(4):
            answer, call = name(), name()
            file.says(name(), texts.prose(40), answer=answer)
            file.says(name(), calls(call, "Bash", command=texts.prose(8)), answer=answer)
            output = texts.prose(200)
            file.returns(name(), call, output, toolUseResult={"stdout": output, "stderr": "", "interrupted": False})
        file.says(name(), texts.prose(80))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    options = parser.parse_args()
    texts = Texts(random.Random(1))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for _ in range(options.sessions):
            session(texts, options.questions).write(Path(folder) / "source")
        size = sum(file.stat().st_size for file in Path(folder, "source").iterdir()) / 1e6
        storage = JsonStorage(Path(folder) / "store")
        gc.disable()  # as the command does
        for what in ("first", "second"):
            begin = time.process_time()
            result = storage.import_from("claude-code", Path(folder) / "source")
            seconds = time.process_time() - begin
            print(
                f"{what} import of {size:.0f} MB: {seconds:.2f} s of processor time, {size / seconds:.1f} MB/s, "
                f"{len(result.added)} new sessions, {result.runs} runs"
            )


if __name__ == "__main__":
    main()
