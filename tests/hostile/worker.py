"""One process that judges hostile documents, within a bound of memory. `python -m tests.hostile.worker --help`."""

import argparse
import faulthandler
import json
import resource
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from random import Random
from types import FrameType

from localstore import JsonStorage, Message, Run, ToolCall, YamlStorage
from localstore.disk import filesystem
from tests.crash.faults import UnsyncedSystem
from tests.hostile.judge import Batch
from tests.hostile.mutations import Corpus, of_session

MEMORY = 2 << 30
"""Bytes of address space; the parsers and their libraries take a tenth of it."""
SIZE = 10
"""Documents in one store."""
PATIENCE = 120
"""Seconds of processor time that one store may take before its worker gives up."""
_HANGS = 3600
"""Seconds after which a call in C that never ends is ended as well."""
_FROZEN = Path(__file__).parents[1] / "format" / "schema-1"


def corpora(folder: Path) -> list[Corpus]:
    """The frozen documents of schema 1, and sessions that the library writes now; most of them small."""
    found = []
    for kind in (JsonStorage, YamlStorage):
        storage = kind(folder / kind.__name__)
        at = "2026-11-22T07:01:20.130Z"
        one = Run(run_id="r1", created_at=at, messages=[Message(role="user", content="hi")])
        two = Run(
            run_id="r2",
            created_at=at,
            messages=[
                Message(role="user", content="Grüße\n\n  - two\n# lines\n"),
                Message(role="assistant", tool_calls=[ToolCall(id="c", name="f", arguments={"a": [1, 2.5, None]})]),
                Message(role="tool", tool_call_id="c", content="}\n    }\n"),
            ],
            session_state={"a": {"b": []}},
            instructions="Answer briefly.",
        )
        waiting = Run(run_id="r3", created_at=at, messages=[Message(role="user", content="?")], status="unfinished")
        for name, runs in (("a", [one]), ("b", [two]), ("c", [one, waiting]), ("d", [one, two, one.model_copy()])):
            for number, run in enumerate(runs):
                storage.append(name, run.model_copy(update={"run_id": f"r{number + 1}"}), user_id="alice")
        storage.update("a", session_data={"k": "v"})
        storage.update("d", name="A name", tags=["x", "no"], metadata={"n": 1})
        own = [storage.path(name).read_bytes() for name in "abcd"]
        suffix = storage.path("a").suffix
        frozen = [path.read_bytes() for path in sorted(_FROZEN.glob(f"*{suffix}"))]
        found.append(Corpus(suffix, tuple(of_session(raw, suffix) for raw in (*own, *own, *own, *frozen))))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge hostile documents; the last line printed is the result.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--step", type=int, default=1, help="every so many batches")
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _too_long)
    filesystem.system = UnsyncedSystem()
    sources = corpora(given.folder / "sources")
    counts: Counter[str] = Counter()
    failures = []
    for number in range(given.first, given.first + given.step * given.batches, given.step):
        root = given.folder / f"store-{number}"
        faulthandler.dump_traceback_later(_HANGS, exit=True)
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        batch = Batch(root, Random(f"{given.seed}/{number}"), sources, SIZE, counts)
        try:
            batch.run()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what we look for)
            batch.failures.append(batch.report(error, None))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        again = f"python -m tests.hostile.worker FOLDER --seed {given.seed} --first {number}"
        failures += [f"{again}\n{failure}" for failure in batch.failures]
        if failures and not given.keep_going:
            break
        shutil.rmtree(root)
    counts["peak MB"] = _peak()
    sys.stdout.write(json.dumps({"counts": counts, "failures": failures}) + "\n")
    return 1 if failures else 0


def _peak() -> int:
    """MB that this program ever used; `ru_maxrss` would count what its parent used before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"a store took more than {PATIENCE} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
