"""Find the branches of a conversation in which answers were made again or questions were changed."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5


class Branch(NamedTuple):
    """A path from the root of a conversation to one of its leaves, as the ids of its nodes.

    `first` is the first node that no earlier branch has; None for the current branch.
    """

    nodes: list[str]
    first: str | None


def path_to(leaf: str, parents: Mapping[str, str | None]) -> list[str]:
    """Return the nodes from the root to a leaf. The path starts after a missing parent or a cycle.

    >>> path_to("c", {"a": None, "b": "a", "c": "b"})
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
    """Return the current branch, followed by one branch for each other leaf that no earlier branch has.

    >>> branches("c", ["x"], {"a": None, "b": "a", "c": "b", "x": "a"})[1]
    Branch(nodes=['a', 'x'], first='x')
    """
    main = path_to(current, parents)
    result = [Branch(main, None)]
    covered = set(main)
    for leaf in leaves:
        if leaf not in covered:
            nodes = path_to(leaf, parents)
            first = next(node for node in nodes if node not in covered)
            covered.update(nodes)
            result.append(Branch(nodes, first))
    return result


def fork_id(session_id: str, first: str) -> str:
    """Return the id of the session that a branch becomes. It stays the same when the branch grows."""
    return str(uuid5(NAMESPACE_URL, f"localstore:{session_id}:fork:{first}"))
