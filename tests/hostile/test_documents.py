"""Hostile documents: a named error or a right answer, in bounded time and memory, and never a byte changed by a read.

The documents are judged in processes of their own, because some of them try to exhaust one. A failure names the seed
and the command that repeats it, and shows the document.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, Message, Run, YamlStorage
from tests.effort import IS_LONG, rounds
from tests.hostile.worker import SIZE

ROOT = Path(__file__).parents[2]
WORKERS = 2
SEED = 1
MOST_MEMORY = 400
"""MB that a worker may ever have used."""


@contextmanager
def _worker(folder: Path, number: int, batches: int) -> Iterator[subprocess.Popen[str]]:
    """A process that judges its share of the documents, and that ends with the test whatever happens."""
    command = [sys.executable, "-m", "tests.hostile.worker", str(folder / str(number)), f"--seed={SEED}"]
    command += [f"--first={number}", f"--step={WORKERS}", f"--batches={batches}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(24 * 3600 if IS_LONG else 3600)
def test_a_hostile_document_is_read_right_or_refused_by_name(tmp_path: Path) -> None:
    documents = rounds(150, 3_000, 1_000_000)
    batches = -(-documents // (SIZE * WORKERS))
    counts: Counter[str] = Counter()
    failures: list[str] = []
    peaks: list[int] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(tmp_path, number, batches)) for number in range(WORKERS)]
        for worker in workers:
            printed, errors = worker.communicate()
            if not printed:
                failures.append(f"{worker.args!r} ended with {worker.returncode}:\n{errors[-4000:]}")
                continue
            result = json.loads(printed)
            failures += result["failures"]
            peaks.append(result["counts"].pop("peak MB"))
            counts.update(result["counts"])
    assert not failures, "\n\n".join([f"{len(failures)} failures, the first of them:", *failures[:3]])
    assert max(peaks) < MOST_MEMORY
    assert counts["documents"] >= documents
    # The mutations reach what they are meant to reach.
    kinds = [name for name in counts if name.startswith("kind ")]
    assert len(kinds) >= 18, kinds
    for outcome in ("answers", "error DocumentBroken", "append done", "append DocumentBroken"):
        assert counts[outcome] > documents // 100, counts
    assert counts["salvaged"] <= documents // 1000, "no crash explains what is in these documents"
    for outcome in ("error NewerFormat", "none"):
        assert counts[outcome] > documents // 5000, counts


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@pytest.mark.parametrize("depth", [100, 190, 255, 500, 1000, 10_000, 100_000])
def test_nesting_is_read_or_refused_at_any_depth(
    kind: type[JsonStorage] | type[YamlStorage], depth: int, tmp_path: Path
) -> None:
    """A document nested 600 deep was read, and then `show` ended with a fault of its own."""
    from click.testing import CliRunner

    from tests.hostile.judge import CLI

    storage = kind(tmp_path / "store")
    storage.append("s1", Run(messages=[Message(role="user", content="hi")]))
    path = storage.path("s1")
    quote = '"' if path.suffix == ".json" else ""
    text = path.read_text().replace(
        f"{quote}status{quote}: ", f"{quote}deep{quote}: {'[' * depth}{']' * depth},\n      {quote}status{quote}: "
    )
    path.write_text(text if path.suffix == ".json" else text.replace("],\n      status", "]\n  status"))
    raw = path.read_bytes()
    shown = CliRunner().invoke(CLI, ["show", "s1", "--store", str(storage.root)])
    if depth < 200:
        session = storage.read("s1")
        assert session is not None
        assert len(session.runs) == 1
        assert shown.exit_code == 0
    else:
        with pytest.raises(DocumentBroken, match=r"deep|depth"):
            storage.read("s1")
        assert shown.exit_code == 4
    assert path.read_bytes() == raw
