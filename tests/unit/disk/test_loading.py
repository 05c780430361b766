"""A fork while another thread imports a module of the library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import importlib.abc, importlib.machinery, os, signal, sys, threading
from localstore import JsonStorage, Message, Run

started = threading.Event()
module, moment = "localstore.storage.checked_values", sys.argv[2]

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != module:
            return None
        if moment == "search":
            pause()
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (pause(), execute(module))
        return spec

def pause():
    started.set()
    threading.Event().wait(0.3)

sys.meta_path.insert(0, Slow())
storage = JsonStorage(sys.argv[1])

def write(run_id):
    storage.append("s", Run(run_id=run_id, messages=[Message(role="user", content="q")]))

thread = threading.Thread(target=write, args=("parent",))
thread.start()
started.wait()
child = os.fork()
if not child:
    signal.alarm(50)
    write("child")
    os._exit(0)
_, status = os.waitpid(child, 0)
thread.join()
print(status, sorted(run.run_id for run in storage.read("s").runs))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["search", "execution"])
def test_a_fork_waits_for_the_import_of_another_thread(tmp_path: Path, moment: str) -> None:
    """Regression: a process that forked while another thread made its first call of `append`, which imports a module,
    left a child that waited for that import for ever in its own first call, whatever `lock_timeout` was.
    """
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), moment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0 ['child', 'parent']\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["search", "execution"])
def test_a_child_forgets_an_import_that_began_after_the_fork_had_waited(tmp_path: Path, moment: str) -> None:
    """Regression: on a busy machine, a thread could begin with an import just before the fork. The child waited for it
    for ever.
    """
    program = f"from localstore.disk import loading\nloading._MOST_WAITS = 0\n{PROGRAM}"
    command = [sys.executable, "-c", program, str(tmp_path / "store"), moment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0 ['child', 'parent']\n", "")
