"""The results of a copy and of a merge of two stores, for people and as JSON."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that both stores have in different forms. The target now has the form that `taken` says.

    `into` says which store is the target, in the words of the person who copies or merges.
    """

    session_id: str
    what: str
    taken: Literal["source", "target"]
    into: Literal["the other store", "this store"] = "the other store"

    def __str__(self) -> str:
        what, target = f"session {self.session_id!r}: {self.what} is different in both stores.", self.into.capitalize()
        if self.taken == "target":
            return f"{what} {target} keeps its form."
        source = "this one" if self.into == "the other store" else "the other one"
        return f"{what} {target} gets the form of {source}, and sets its own aside for rescue."

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {"session_id": self.session_id, "what": self.what, "taken": self.taken}


@dataclass(frozen=True, slots=True)
class NotCopied:
    """A session or a file that was not copied, and why."""

    problem: str
    session_id: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        return self.problem if self.session_id is None else f"session {self.session_id!r}: {self.problem}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        values = {"session_id": self.session_id, "path": self.path, "problem": self.problem}
        return {name: value for name, value in values.items() if value is not None}


class Transferred:
    """What the results of a copy and of a merge share. Both have `differences` and `skipped`."""

    __slots__: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        lists = {name: [one.as_dict() for one in values[name]] for name in ("differences", "skipped")}
        return {**values, **lists}


@dataclass(slots=True)
class Copied(Transferred):
    """The result of a copy.

    `added` and `extended` are the ids of the sessions that are new in the other store, and of those that got something
    new there. `unchanged` is the number of sessions of which it had everything. `runs` is the number of runs that are
    new or longer there. `differences` names what both stores had in different forms, and `skipped` what was not copied.
    """

    dry_run: bool
    added: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    unchanged: int = 0
    runs: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: list[NotCopied] = field(default_factory=list)

    def add(self, other: "Copied") -> None:
        """Add the result for other sessions."""
        self.added += other.added
        self.extended += other.extended
        self.unchanged += other.unchanged
        self.runs += other.runs
        self.differences += other.differences
        self.skipped += other.skipped
