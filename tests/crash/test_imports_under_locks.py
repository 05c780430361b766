"""An open storage imports nothing in its writes, least of all while a lock is held.

A module that another thread was importing when a process forked stays locked in the child for ever.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run, YamlStorage
from localstore.maintenance.trash import throw_away
from localstore.maintenance.upgrade import convert
from tests.effort import rounds

HOME = Path(__file__).parents[2]
WATCH = """
import importlib.abc, json, os, sys, traceback
from localstore import *
from localstore.disk.locks import LockPool
from localstore.maintenance.repair import repair
from localstore.maintenance.rescue import rescued, restore
from localstore.maintenance.trash import put_back, throw_away, trashed
from localstore.maintenance.upgrade import convert, undo as undo_migration, upgrade
kind = globals()[sys.argv[1]]
other = "yaml" if kind is JsonStorage else "json"
held, imported = [], set()
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if held:
            imported.add(name)
sys.meta_path.insert(0, Watch())
acquire, release = LockPool.acquire, LockPool.release
def acquired(self, number, *arguments):
    held.append(number)
    acquire(self, number, *arguments)
def released(self, number, *arguments):
    if number in held:
        held.remove(number)
    release(self, number, *arguments)
LockPool.acquire, LockPool.release = acquired, released
def run(name, status="completed"):
    return Run(run_id=name, status=status, messages=[Message(role="user", content="a: b\\n- 1e3")])
def changed():
    session = storage.read("s")
    session.runs[0].messages[0].content = "other words"
    return session
def edited(old, new):
    path = storage.path("s")
    path.write_bytes(path.read_bytes().replace(old, new))
for root, code in json.load(sys.stdin):
    if os.fork() == 0:  # nothing is imported there that an operation before it needed
        try:
            storage = kind(root)
            exec(code)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        print(*sorted(imported), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, code
"""
OPERATIONS = {
    "append": "storage.append('s', run('r9'))",
    "create": "storage.append('new', run('r9'))",
    "create with another kind of name": "storage.append('Trip to Graz', run('r9'))",
    "grow and finish": (
        "storage.append('s', run('r9', 'unfinished'))\n"
        "storage.add_step('s', 'r9', Step(name='a', output='b'), number=0)\n"
        "storage.add_step('s', 'r9', Step(name='b', output='b'), number=1)"
    ),
    "append with a state": "r = run('r9'); r.session_state = {'a': 1}; storage.append('s', r, state_base={})",
    "rename": "storage.update('s', name='new')",
    "state": "storage.update('s', session_state={'a': [1.5, None]})",
    "tag": "storage.update('s', add_tags=['a'])",
    "rate": "storage.rate('s', 'r1', 'good')",
    "upsert": "storage.upsert(changed())",
    "fork": "storage.fork('s')",
    "undo": "storage.undo('s')",
    "delete": "storage.delete_session('s')",
    "drop": "storage.drop()",
    "read and list": "storage.read('s'); storage.read('s', last_runs=1); storage.list_sessions()",
    "without a manifest": "(storage.root / '.localstore/manifest.jsonl').unlink(); storage.append('s', run('r9'))",
    "an edited document": "edited(b'r1', b'r0'); storage.append('s', run('r9'))",
    "another layout": "edited(b'\\n', b'\\n\\n'); storage.append('s', run('r9'))",
    "a broken document": (
        "edited(b'session_id', b'session id: [')\ntry: storage.append('s', run('r9'))\nexcept DocumentBroken: pass"
    ),
    "repair": "edited(b'r1', b'r0'); list(repair(storage))",
    "restore": "[restore(storage, one.name) for one in rescued(storage)]",
    "throw away": "throw_away(storage, 's')",
    "put back": "[put_back(storage, one.name) for one in trashed(storage)]",
    "move to the trash and back": (
        "storage.trash(['s', 'o'])\n[storage.restore(one.name) for one in storage.trashed()]\n"
        "storage.trash('s'); storage.restore(storage.trashed()[0].name, new_id='t')"
    ),
    "prune": "storage.prune(older_than='0m', keep=1)",
    "archive": "storage.archive(['s', 'o'])",
    "edit": (
        "base = storage.read_document('s'); storage.replace_document('s', base.replace(b'hi', b'ho', 1), base=base)\n"
        "storage.append('s', run('r9')); storage.replace_document('s', base.replace(b'hi', b'hu', 1), base=base)\n"
        "edited(b'session_id', b'session id: ['); broken = storage.read_document('s')\n"
        "storage.replace_document('s', base, base=broken)"
    ),
    "take a run out": "storage.remove_run('s', 'r1')",
    "convert": "convert(storage, other); undo_migration(storage.root)",
    "compact": "[storage.update('s', name=str(n)) for n in range(9)]; storage._engine.manifest.compact()",
    "documents of the other format": "storage.append('o', run('r9')); storage.update('o', name='n')",
}


@pytest.fixture(scope="module", params=[JsonStorage, YamlStorage])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with a session, something in rescue and in the trash, and a document of the other format."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    storage: JsonStorage | YamlStorage = request.param(root)
    for session_id in ("s", "o", "gone"):
        for number in (1, 2, 3):
            storage.append(session_id, Run(run_id=f"r{number}", messages=[Message(role="user", content="hi")]))
    storage.undo("s")
    throw_away(storage, "gone")
    convert(storage, "yaml" if request.param is JsonStorage else "json", ["o"])
    return root, request.param.__name__


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_nothing_is_imported_while_a_lock_is_held(prepared: tuple[Path, str], tmp_path: Path) -> None:
    """Regression: `filelock`, PyYAML and others were imported inside the first lock of a process. A child that was
    forked meanwhile waited for ever at its own first write.
    """
    root, kind = prepared
    work = [(str(shutil.copytree(root, tmp_path / name)), code) for name, code in OPERATIONS.items()]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, kind], input=json.dumps(work),
        capture_output=True, text=True, check=False, cwd=HOME,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = dict(zip(OPERATIONS, done.stdout.splitlines(), strict=True))
    assert not any(imported.values()), imported


FORKING = """
import importlib.abc, os, sys, threading, time, warnings
warnings.simplefilter("ignore")
from localstore import *
root, kind, slow = sys.argv[1], globals()[sys.argv[2]], sys.argv[3]
importing = threading.Event()
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == slow:
            importing.set()
            time.sleep(0.5)
sys.meta_path.insert(0, Slow())
storage = kind(root, lock_timeout=100)
def write(name):
    storage.append("s", Run(run_id=name))
    storage.update("s", name=name)
thread = threading.Thread(target=write, args=("parent",))
thread.start()
importing.wait(0.3)
pid = os.fork()
if pid == 0:
    write("child")
    os._exit(0)
deadline = time.monotonic() + 100
while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
    time.sleep(0.01)
thread.join()
if done[0] == 0:
    os.kill(pid, 9)
    sys.exit("the child waits for ever")
assert done[1] == 0, done
assert {run.run_id for run in kind(root).read("s").runs} >= {"parent", "child"}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    ("kind", "module"),
    [("JsonStorage", "filelock"), ("JsonStorage", "ctypes"), ("JsonStorage", "hashlib"), ("YamlStorage", "yaml")],
)
def test_a_fork_in_the_middle_of_a_first_write_does_not_hang_the_child(
    prepared: tuple[Path, str], tmp_path: Path, kind: str, module: str
) -> None:
    """Regression: the child inherited the lock of the module that the other thread was importing, for ever.
    The same held for what pydantic initialises with the first validation of a process.
    """
    root, prepared_kind = prepared
    if prepared_kind != kind:
        pytest.skip("the store is of the other kind")
    for number in range(rounds(1, 3, 50)):
        store = shutil.copytree(root, tmp_path / f"store {number}")
        done = subprocess.run(
            [sys.executable, "-c", FORKING, str(store), kind, module],
            capture_output=True, text=True, check=False, cwd=HOME,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
