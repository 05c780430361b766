"""Replaces the last bytes of a file by more bytes, in an order that leaves it readable after a kill or a power cut."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from localstore.disk import filesystem
from localstore.format.in_place import SECTOR

Order = Literal["any", "by sectors", "together"]
"""What a power cut must not leave: nothing in particular; old and new bytes of the overlap side by side; or some of
the new bytes beyond the old end without the others."""


def is_one_step(size: int, old: bytes, new: bytes, order: Order) -> bool:
    """Return whether `extend` makes this change in one write that the end of the process cannot interrupt.

    The system copies bytes page by page, and looks for a fatal signal in between.
    """
    start, border = size - len(old), size // SECTOR * SECTOR
    if order == "together" or (order == "by sectors" and start < border < size):
        return False
    return start // filesystem.PAGE == (start + len(new) - 1) // filesystem.PAGE


def extend(
    fd: int, size: int, old: bytes, new: bytes, order: Order = "any", sync: Callable[[], None] = lambda: None
) -> None:
    """Replace `old`, the last bytes of a file of `size` bytes, by `new`, which is at least as long.

    If all of it lies in one page, it is one write. Otherwise, it first writes what lies beyond the old end of the file,
    then the few bytes that overlap the old end. If it is stopped in between, the file is the old one with extra bytes
    after its end. If a write fails, the file is restored as far as the disk allows, and the error is raised.

    `order` needs `sync`, which makes the file durable. "by sectors": a disk may write one sector and not the next, so
    if the overlap (at most one sector) spans two, the part in the second is durably set to zero before the first is
    changed. "together": what lies beyond the old end is durable before the overlap is changed, so that after a power
    cut the old end is intact, or everything beyond it is there.
    """
    overlap = len(old)
    start, border = size - overlap, size // SECTOR * SECTOR
    with _restored(fd, size, old):
        if is_one_step(size, old, new, order):
            filesystem.write_at(fd, new, start)
            return
        filesystem.write_at(fd, new[overlap:], size)
        if order == "together":
            sync()
        if order == "by sectors" and start < border < size:
            filesystem.write_at(fd, bytes(size - border), border)
            sync()
            filesystem.write_at(fd, new[: border - start], start)
            sync()
            filesystem.write_at(fd, new[border - start : overlap], border)
        elif overlap:
            filesystem.write_at(fd, new[:overlap], start)


@contextlib.contextmanager
def _restored(fd: int, size: int, old: bytes) -> Iterator[None]:
    """Restore the end of a file, as far as the disk allows, if writing to it fails."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            filesystem.system.truncate(fd, size)
            filesystem.write_at(fd, old, size - len(old))
        raise


def add_line(fd: int, size: int, line: bytes) -> None:
    """Write `line` at the end of a file of `size` bytes. If that fails, the file is cut back to its old size."""
    extend(fd, size, b"", line)
