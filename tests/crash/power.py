"""What a power cut may leave: a file layer that keeps what was written apart from what was made durable.

What is assumed of the disk, and no more:

- Bytes that were synced, and not written again since, stay as they are.
- Bytes that were written and not synced may be there or not, 512 of them (aligned) at a time, in any order, in any of
  the versions that they had since the last sync, or be zero. Behind the old end of a file they may be cut anywhere.
- The size of a file may be the old one, the new one, or one in between; where it grew and no bytes arrived, are zeros.
- The times of a file may be the old or the new ones, whatever happened to its bytes.
- A name that was made, removed or replaced is so after a sync of its folder; before, each such change may have
  happened or not, independently of all others. A replacement happens whole or not at all.
- A sync keeps what it promises. Files that were read or listed only are not touched.
- The lock files are never synced, so that a mark of a write may be there or not, whatever became of that write.
- All files are older than the boot of the machine that reads them.

Not modelled: bytes going bad by themselves, a disk that forgets what it synced, and more than one power cut at a time.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from localstore.disk import boot, filesystem
from tests.crashes import in_another_boot

SECTOR = 512


class Times(NamedTuple):
    mtime: int
    ctime: int

    @classmethod
    def of(cls, status: os.stat_result) -> Times:
        return cls(status.st_mtime_ns, status.st_ctime_ns)


@dataclass(eq=False)
class Node:
    """A file or (with `number` 0) a folder, whatever its names are. `versions` begin with the durable one, and one is
    added by each write since; `times` belong to them."""

    number: int
    versions: list[bytes] = field(default_factory=lambda: [b""])
    times: list[Times] = field(default_factory=lambda: [Times(0, 0)])
    written: list[tuple[int, int]] = field(default_factory=list)
    """The ranges of bytes that were written since the last sync."""

    def copy(self) -> Node:
        return Node(self.number, list(self.versions), list(self.times), list(self.written))


class Renaming(NamedTuple):
    """A change of names that is not durable yet: `path` is given to `node` (None removes it), and `source` removed, or
    given to the node `exchanged`."""

    path: str
    node: Node | None
    source: str | None = None
    exchanged: Node | None = None

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)


@dataclass
class Disk:
    """The files below a folder at one moment: the durable names, what is on its way, and the nodes they lead to."""

    names: dict[str, Node]
    pending: list[Renaming]

    def copy(self) -> Disk:
        nodes: dict[Node, Node] = {}

        def twin(node: Node | None) -> Node | None:
            return None if node is None else nodes.setdefault(node, node.copy())

        names = {path: nodes.setdefault(node, node.copy()) for path, node in self.names.items()}
        pending = [one._replace(node=twin(one.node), exchanged=twin(one.exchanged)) for one in self.pending]
        return Disk(names, pending)


class RecordingSystem(filesystem.System):
    """Does everything on the real disk, without waiting for it, and keeps a `Disk` for every moment in between.

    What is in `root` at the beginning is durable, but the lines of the manifest: they are never synced.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._open: dict[int, Node] = {}
        self.moments: list[Disk] = []
        self.trace: list[str] = []
        nodes: dict[int, Node] = {}
        names = {}
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            if path.is_dir():
                names[self._name(str(path))] = Node(0)
                continue
            node = nodes.setdefault(status.st_ino, Node(status.st_ino, [path.read_bytes()], [Times.of(status)]))
            names[self._name(str(path))] = node
            if path.name == "manifest.jsonl":
                whole = node.versions[0]
                first = whole.find(b"\n") + 1
                node.versions, node.times = [whole[:first], whole], node.times * 2
                node.written = [(first, len(whole))]
        self._disk = Disk(names, [])
        self._current = dict(names)
        self.take("the beginning")

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def take(self, what: str) -> None:
        """Keep the disk as it is now."""
        self.moments.append(self._disk.copy())
        self.trace.append(what)

    def _change(self, change: Renaming, what: str) -> None:
        _apply(change, self._current)
        self._disk.pending.append(change)
        self.take(what)

    def open(self, path: str, flags: int) -> int:
        fd = super().open(path, flags)
        name = self._name(path)
        node = self._current.get(name)
        if node is None:
            status = os.fstat(fd)
            node = Node(status.st_ino, times=[Times.of(status)])
            self._change(Renaming(name, node), f"make {name}")
        self._open[fd] = node
        return fd

    def _node(self, fd: int) -> Node:
        if fd not in self._open:  # it was opened before the recording began
            number = os.fstat(fd).st_ino
            self._open[fd] = next(node for node in self._current.values() if node.number == number)
        return self._open[fd]

    def close(self, fd: int) -> None:
        super().close(fd)
        self._open.pop(fd, None)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        count = super().write(fd, data, offset)
        node = self._node(fd)
        before = node.versions[-1].ljust(offset, b"\0")
        node.versions.append(before[:offset] + bytes(data[:count]) + before[offset + count :])
        node.times.append(Times.of(os.fstat(fd)))
        node.written.append((offset, offset + count))
        self.take(f"write {count} bytes at {offset}")
        return count

    def truncate(self, fd: int, size: int) -> None:
        raise AssertionError("nothing fails here, so nothing is cut back")

    def sync(self, fd: int) -> None:
        node = self._node(fd)
        node.versions, node.written = [node.versions[-1]], []
        node.times = [Times.of(os.fstat(fd))]
        self.take("sync")

    def sync_folder(self, path: str) -> None:
        folder = self._name(path)
        waiting = self._disk.pending
        self._disk.pending = []
        for change in waiting:
            if (change.folder or ".") == folder:
                _apply(change, self._disk.names)
            else:
                self._disk.pending.append(change)
        self.take(f"sync the folder {folder}")

    def replace(self, source: str, target: str) -> None:
        super().replace(source, target)
        name = self._name(source)
        self._change(Renaming(self._name(target), self._current[name], name), f"replace {self._name(target)}")

    def exchange(self, first: str, second: str) -> None:
        super().exchange(first, second)
        source, target = self._name(first), self._name(second)
        change = Renaming(target, self._current[source], source, self._current[target])
        self._change(change, f"exchange {source} and {target}")

    def rename_to_new(self, source: str, target: str) -> None:
        super().rename_to_new(source, target)
        name = self._name(source)
        self._change(Renaming(self._name(target), self._current[name], name), f"rename to {self._name(target)}")

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self._change(Renaming(self._name(target), self._current[self._name(source)]), f"link {self._name(target)}")

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._change(Renaming(self._name(path), None), f"unlink {self._name(path)}")

    def remove_folder(self, path: str) -> None:
        super().remove_folder(path)
        self._change(Renaming(self._name(path), None), f"remove the folder {self._name(path)}")

    def make_folder(self, path: str) -> None:
        super().make_folder(path)
        self._change(Renaming(self._name(path), Node(0)), f"make the folder {self._name(path)}")


def _apply(change: Renaming, names: dict[str, Node]) -> None:
    if change.source is not None and change.exchanged is not None:
        names[change.source] = change.exchanged
    elif change.source is not None:
        names.pop(change.source, None)
    if change.node is not None:
        names[change.path] = change.node
    else:
        names.pop(change.path, None)


# What may be left of it

HOW = ("nothing unsynced", "everything", "names without bytes", "bytes without names", "mixed")
"""The first ones are the corners; `mixed` takes every choice by chance, so that more of them are more states."""


def state(disk: Disk, how: str, chance: random.Random) -> tuple[dict[str, tuple[Node, bytes]], dict[int, Times]]:
    """One state that a cut at this moment may leave: path to node and bytes (folders have none), and by the number of
    a node the times that its file has then."""
    with_names = {"everything": 1.0, "names without bytes": 1.0, "mixed": 0.5}.get(how, 0.0)
    names = dict(disk.names)
    for change in disk.pending:
        if chance.random() < with_names:
            _apply(change, names)
    left: dict[Node, bytes] = {}
    times: dict[int, Times] = {}
    result = {}
    for path, node in sorted(names.items()):
        if any(str(parent) not in names for parent in Path(path).parents if str(parent) != "."):
            continue  # its folder is not there
        if node not in left:
            left[node] = _bytes(node, how, chance)
            version = {"nothing unsynced": 0, "everything": -1}.get(how, chance.choice((0, -1)))
            times[node.number] = node.times[version]
        result[path] = node, left[node]
    return result, times


def _bytes(node: Node, how: str, chance: random.Random) -> bytes:
    durable, newest = node.versions[0], node.versions[-1]
    if how in ("nothing unsynced", "names without bytes") or len(node.versions) == 1:
        return durable
    if how in ("everything", "bytes without names"):
        return newest
    way = chance.random()
    if way < 0.15:
        return durable
    if way < 0.3:
        return newest
    if way < 0.5:
        return _cut_short(node, chance)
    return _by_sectors(node, chance)


def _cut_short(node: Node, chance: random.Random) -> bytes:
    """The writes in their order up to somewhere in one of them; what was there before is overwritten by sectors."""
    number = chance.randrange(len(node.written))
    before, after = node.versions[number], node.versions[number + 1]
    start, end = node.written[number]
    cut = chance.randint(start, end)
    if cut < len(before):
        cut = min(max(cut // SECTOR * SECTOR, start), end)
    return before[:start].ljust(start, b"\0") + after[start:cut] + before[cut:]


def _by_sectors(node: Node, chance: random.Random) -> bytes:
    durable, newest = node.versions[0], node.versions[-1]
    size = chance.choice((len(durable), len(newest), chance.randint(len(durable), max(len(durable), len(newest)))))
    data = bytearray(newest[:size].ljust(size, b"\0"))
    zero_too = chance.random() < 0.5
    for sector in range(0, size, SECTOR):
        version = chance.choice((durable, newest, chance.choice(node.versions), b"" if zero_too else newest))
        for start, end in node.written:
            first, last = max(start, sector), min(end, sector + SECTOR, size)
            if first < last:
                data[first:last] = version[first:last].ljust(last - first, b"\0")
    return bytes(data)


def materialise(root: Path, left: dict[str, tuple[Node, bytes]], times: dict[int, Times]) -> ReplayedSystem:
    """Make the files of a state in `root`, after a restart of the machine; the file layer to look at them with."""
    replayed = ReplayedSystem()
    made: dict[Node, Path] = {}
    root.mkdir(mode=0o700)
    for name, (node, data) in left.items():
        path = root / name
        if node.number == 0:
            path.mkdir(mode=0o700)
        elif node in made:
            os.link(made[node], path)
        else:
            # Rows and marks were written before the restart, so that their boot is not the one that reads them.
            path.write_bytes(in_another_boot(data))
            path.chmod(0o600)
            made[node] = path
            status = path.lstat()
            replayed.known[status.st_ino] = (status.st_mtime_ns, node.number, times[node.number])
    return replayed


@contextmanager
def restarted() -> Iterator[None]:
    """The machine has just been started: all files that are there now are older than that."""
    now = time.time_ns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boot, "started_at", lambda: now)
        patch.setattr(boot, "_CLOCK_ERROR", 0)
        yield


class ReplayedSystem(filesystem.System):
    """Shows files that nobody wrote to since with the number and the times that they had before the power cut: what
    the manifest knew fits them as it would have then."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, int, Times]] = {}

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, path: str) -> None:
        pass

    def status(self, path: str) -> os.stat_result:
        return self._shown(super().status(path))

    def status_of(self, fd: int) -> os.stat_result:
        return self._shown(super().status_of(fd))

    def _shown(self, status: os.stat_result) -> os.stat_result:
        mtime, number, times = self.known.get(status.st_ino, (0, 0, Times(0, 0)))
        if mtime != status.st_mtime_ns:
            return status
        values = list(status)
        values[1] = number
        return os.stat_result(tuple(values), {"st_mtime_ns": times.mtime, "st_ctime_ns": times.ctime})
