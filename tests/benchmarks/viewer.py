"""The pages of `localstore serve`, on a large store: a real server process, asked over one connection.

    python -m tests.benchmarks.viewer [--sessions 100000] [--runs 20000] [--folder DIR] [--rounds 30]

It takes two to three minutes, most of them to make the store. Each figure is the median of a warm server. Beside it
stands for how long the server worked on one answer, which a busy machine changes less. From an event to the screen is
measured in headless Chromium: from before the write of another process until the answer stands in the page.
"""

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from localstore import JsonStorage, Message, Metrics, Run
from tests.benchmarks.listing import fill
from tests.benchmarks.timing import table

TARGETS = {
    "list, first page": ("/", 30),
    "list, next page": ("/?after={after}", 30),
    "list, by tokens": ("/?sort=tokens", None),
    "search while typing, one hit": ("/?q=zanzi", 50),
    "search while typing, 50 hits": ("/?q=hi", 50),
    "session, last 20 runs": ("/session?id=long", 40),
    "session, last 20 runs, that no page showed yet": ("/session?id={fresh}", 40),
    "session, 100 runs in the middle": ("/earlier?id=long&before=10000", None),
    "dashboard": ("/dashboard", 300),
}
"""The path of each page, and in how many milliseconds it should be there. {fresh} is another session each time."""


METRICS = Metrics(input_tokens=300, output_tokens=100, duration_seconds=1.5)


@contextmanager
def server(store: Path) -> Iterator[tuple[str, float, int]]:
    """Yield the address of a server, how long it took to start, and the id of its process."""
    command = [sys.executable, "-c", "from localstore_cli.app import main; main()", "serve", str(store), "--port", "0"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        Pages(address).ask("/")
        try:
            yield address, time.perf_counter() - began, process.pid
        finally:
            process.send_signal(signal.SIGINT)


class Pages:
    """Asks for pages over one connection."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = HTTPConnection(parts.netloc, timeout=600)
        self._connection.request("GET", f"/?{parts.query}")
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = answer.headers["set-cookie"].partition(";")[0]

    def ask(self, path: str) -> str:
        """Return a page. Raises AssertionError if it is an error."""
        headers = {"cookie": self._cookie}
        if "?q=" in path:
            headers |= {"hx-request": "true", "hx-trigger": "filters"}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (path, answer.status)
        return body


def work(process: int) -> float:
    """Return for how many milliseconds the threads of a process have worked so far."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


def milliseconds(pages: Pages, process: int, ask: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """Return the median time of what `ask` does, and the median of the work of the server for it."""
    taken, worked = [], []
    for number in range(rounds + 3):
        before, began = work(process), time.perf_counter()
        ask(number)
        ended = time.perf_counter()
        if number >= 3:
            taken.append(1000 * (ended - began))
            worked.append(work(process) - before)
    return statistics.median(taken), statistics.median(worked)


def add_long_sessions(storage: JsonStorage, runs: int, rounds: int) -> None:
    """Add a long session, and for each round one whose texts are in no other."""

    def answered(name: str, number: int) -> Run:
        text = f"Train {name}-{number} at **7:58**, platform `{number}`.\n" * 20
        messages = [Message(role="user", content=f"Which train, {number}?"), Message(role="assistant", content=text)]
        return Run(messages=messages, metrics=METRICS, model="m")

    storage.append_many("long", [answered("long", number) for number in range(runs)])
    for name in (f"fresh-{number}" for number in range(rounds + 3)):
        storage.append_many(name, [answered(name, number) for number in range(20)])
    storage.append("live", Run(messages=[Message(role="user", content="Where is zanzibar?")]))


def event_to_screen(store: JsonStorage, address: str, rounds: int) -> float:
    taken = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.goto(address.partition("/?")[0] + "/session?id=live")
        page.wait_for_timeout(1000)
        for number in range(rounds):
            began = time.perf_counter()
            store.append("live", Run(run_id=f"n{number}", messages=[Message(role="user", content="x")]))
            page.wait_for_selector(f"#run-n{number}", state="attached")
            taken.append(1000 * (time.perf_counter() - began))
        browser.close()
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        began = time.perf_counter()
        storage = fill(folder / "store", args.sessions)
        add_long_sessions(storage, args.runs, args.rounds)
        storage.search("zanzibar")
        print(f"The store is there after {time.perf_counter() - began:.0f} s.")
        with server(folder / "store") as (address, started, process):
            pages = Pages(address)
            pages.ask("/dashboard")
            after = re.search(r"after=([^\"&]+)", pages.ask("/"))
            assert after is not None

            def page(path: str) -> Callable[[int], object]:
                return lambda number: pages.ask(path.format(after=after[1], fresh=f"fresh-{number}", number=number + 1))

            def search_after_a_write(number: int) -> None:
                storage.append("live", Run(messages=[Message(role="user", content=f"Where is madagascar{number}?")]))
                assert f"<mark>madagascar{number}" in pages.ask(f"/?q=madagascar{number}")

            rows = []
            for name, (path, target) in TARGETS.items():
                median, worked = milliseconds(pages, process, page(path), args.rounds)
                note = "" if target is None else f", target <= {target}"
                rows.append((f"{name}, ms", median, f"work {worked:.1f}{note}"))
            median, worked = milliseconds(pages, process, search_after_a_write, args.rounds)
            rows.append(("write, and search for it, ms", median, f"work {worked:.1f}"))
            by_day = "/dashboard?by=day&since=2001-01-0{number}"
            median, worked = milliseconds(pages, process, page(by_day), 3)
            rows.append(("dashboard by day, not counted before, ms", median, f"work {worked:.1f}"))
            rows.append(("event to screen, ms", event_to_screen(storage, address, 10), "target <= 300"))
            memory = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
            rows.append(("memory, MB", int(memory[1]) / 1024 if memory else 0.0, "target <= 120"))
            rows.append(("start to first page, s", started, "target <= 1.5"))
        table(f"Pages of {args.sessions:,} sessions, one of {args.runs:,} runs", rows)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
