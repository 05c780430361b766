"""Compute how an upgrade would change each document, without writing anything."""

from collections.abc import Iterator
from dataclasses import dataclass

from localstore.disk import store_tree
from localstore.disk.document_file import DocumentFile
from localstore.errors import LocalstoreError
from localstore.format.document import parse_strictly
from localstore.maintenance.upgrade.apply import to_current
from localstore.maintenance.upgrade.plan import Plan
from localstore.maintenance.upgrade.results import Problem


@dataclass(frozen=True, slots=True)
class Change:
    """The path of a document, relative to the root, and its bytes, before and after an upgrade."""

    path: str
    new_path: str
    old: bytes
    new: bytes


def preview(plan: Plan) -> Iterator[Change | Problem]:
    """Yield the change of each document in `plan.paths`, or the problem if it cannot be upgraded.

    Documents that were deleted or upgraded since the plan was made are skipped.
    """
    for path in plan.paths:
        full = store_tree.full_path(plan.root, path)
        try:
            with DocumentFile(full) as file:
                old = parse_strictly(file.read_all(), file.layout, full)
            change = to_current(old, path)
        except FileNotFoundError:
            continue
        except (LocalstoreError, OSError) as error:
            yield Problem.of(full, error)
            continue
        if change is not None:
            yield Change(path, change[0], old.raw, change[1].raw)
