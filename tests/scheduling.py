"""How the tests are given to the processes of `pytest -n`: all cases of a test function together, in their order.

The scheduler of xdist for groups hands out each test alone, and counts after each one all tests that it ever gave away:
with ten thousand of them, that took longer than most tests.
"""

from xdist.scheduler.loadgroup import LoadGroupScheduling
from xdist.workermanage import WorkerController


class Scheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Gives the tests of an `xdist_group`, or the cases of one function, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("[")[0]

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        scope = self._split_scope(self.registered_collections[node][item_index])
        given = self.assigned_work[node]
        if all(given[scope].values()):
            del given[scope]
