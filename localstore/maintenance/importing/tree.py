"""Find the branches of a conversation in which answers were made again or questions were changed."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5


class Branch(NamedTuple):
    """A way from the beginning of a conversation to one of its ends: the ids of its nodes, and its first own node.

    The first own node is the one where it leaves the branches before it; None for the current branch.
    """

    nodes: list[str]
    first: str | None


def way_to(leaf: str, parents: Mapping[str, str | None]) -> list[str]:
    """Return the nodes from the root to a leaf. A cycle ends the way, and so does a parent that does not exist.

    >>> way_to("c", {"a": None, "b": "a", "c": "b"})
    ['a', 'b', 'c']
    """
    nodes: list[str] = []
    seen: set[str] = set()
    node: str | None = leaf
    while node is not None and node in parents and node not in seen:
        seen.add(node)
        nodes.append(node)
        node = parents[node]
    return nodes[::-1]


def branches(current: str, leaves: Iterable[str], parents: Mapping[str, str | None]) -> list[Branch]:
    """Return the current branch, and then one for each other leaf that is not on an earlier branch.

    >>> branches("c", ["x"], {"a": None, "b": "a", "c": "b", "x": "a"})[1]
    Branch(nodes=['a', 'x'], first='x')
    """
    main = way_to(current, parents)
    result = [Branch(main, None)]
    covered = set(main)
    for leaf in leaves:
        if leaf not in covered:
            nodes = way_to(leaf, parents)
            first = next(node for node in nodes if node not in covered)
            covered.update(nodes)
            result.append(Branch(nodes, first))
    return result


def fork_id(session_id: str, first: str) -> str:
    """Return the id of the session that a branch becomes. It stays the same when the branch grows."""
    return str(uuid5(NAMESPACE_URL, f"localstore:{session_id}:fork:{first}"))
