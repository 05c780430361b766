"""What the items of a session say about a thread: its checkpoints, the values of its channels, and pending writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any

from localstore.integrations.langgraph.encoding import Stored, Typed, added_to, joined, serialised, stored
from localstore.storage.items import Item

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

SOURCE = "langgraph"
"""The `source` of the items."""

Key = tuple[str, str]
"""The namespace and the id of a checkpoint."""
Version = str | int | float
ValueKey = tuple[str, str, Version]
"""The namespace, the channel and the version of a value."""

_FIRST_LOOK = 32
"""How many of the newest items are read first, to find those that others added."""


@dataclass(slots=True, eq=False)
class Value:
    """A version of a channel's value: the form in which it is stored, and the value that it continues."""

    stored: Stored
    base: Value | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a value. LangGraph may say that a channel is empty now."""
        return not self.stored.keys().isdisjoint(("json", "base64", "base"))


@dataclass(slots=True)
class ThreadLog:
    """The content of a thread, as far as `refresh` read it. Use it while holding `lock`.

    An item is a checkpoint with the values that changed in it, the writes of one task, or the id of a run.
    """

    lock: RLock = field(default_factory=RLock)
    revision: str = ""
    last: str | None = None
    """The id of the last item that was read."""
    checkpoints: dict[Key, dict[str, Any]] = field(default_factory=dict)
    writes: dict[Key, dict[tuple[str, int], dict[str, Any]]] = field(default_factory=dict)
    """By checkpoint the writes, by their task and their place."""
    own: dict[Key, dict[str, Value]] = field(default_factory=dict)
    """By checkpoint the values that are stored with it, by channel."""
    values: dict[ValueKey, Value] = field(default_factory=dict)
    """The values by their versions; the one that was stored last if there are several."""
    runs: set[str] = field(default_factory=set)
    """The ids of runs for which there is an item."""
    newest: dict[str, str] = field(default_factory=dict)
    """By namespace the id of the newest checkpoint."""
    whole: dict[tuple[str, str], tuple[Value, Typed]] = field(default_factory=dict)
    """By namespace and channel the list that was put together last."""

    def refresh(self, storage: SessionStorage, thread_id: str) -> None:
        """Read what was added since the last call, or everything if something was removed."""
        while (revision := storage.revision(thread_id)) != self.revision:
            wanted = None if self.last is None else _FIRST_LOOK
            while True:
                items = storage.items(thread_id, wanted, source=SOURCE)
                places = [place for place, item in enumerate(items) if item.item_id == self.last]
                if places or wanted is None or len(items) < wanted:
                    break
                wanted *= 8
            if storage.revision(thread_id) != revision:
                continue
            if not places:
                self._clear()
            self.add(items[places[-1] + 1 if places else 0 :], revision)

    def add(self, items: list[Item], revision: str) -> None:
        """Take in items that were added to the end, after which the session has this revision.

        Raises LookupError for an item that lacks something: the next call reads everything again.
        """
        for item in items:
            try:
                if isinstance(item.data, dict):
                    self._add(item.data)
            except (KeyError, TypeError, AttributeError) as error:
                self._clear()
                raise LookupError(
                    f"item {item.item_id!r} of the thread is not as LangGraph's adapter stores one "
                    f"({type(error).__name__}: {error}). Was the document edited? Take it from a backup."
                ) from error
            self.last = item.item_id
        self.revision = revision

    def _add(self, data: dict[str, Any]) -> None:
        if data["type"] == "run":
            self.runs.add(data["run_id"])
            return
        key = data["ns"], data["id"]
        if data["type"] == "checkpoint":
            self.checkpoints[key] = data
            self.newest[key[0]] = max(key[1], self.newest.get(key[0], ""))
            self.own[key] = own = {}
            for channel, form in data["values"].items():
                base = self.values.get((key[0], channel, form["base"])) if "base" in form else None
                own[channel] = Value(form, base)
                if "version" in form:
                    self.values[key[0], channel, form["version"]] = own[channel]
        else:
            known = self.writes.setdefault(key, {})
            for write in data["writes"]:
                place = data["task_id"], write["index"]
                if place not in known or place[1] < 0:
                    known[place] = {**write, "task_path": data["task_path"], "task_id": data["task_id"]}

    def _clear(self) -> None:
        for content in (self.checkpoints, self.writes, self.own, self.values, self.runs, self.newest, self.whole):
            content.clear()
        self.revision, self.last = "", None

    def ordered_writes(self, key: Key) -> list[dict[str, Any]]:
        """Return the pending writes of a checkpoint in the order in which LangGraph applies them."""
        found = self.writes.get(key, {}).values()
        return sorted(found, key=lambda write: (write["task_path"], write["task_id"], write["index"]))

    def value(self, data: dict[str, Any], channel: str) -> Typed | None:
        """Return the value of a channel in a checkpoint, serialised; None if it has none."""
        found = self._value(data, channel)
        return None if found is None or not found.is_there else self._typed(data["ns"], channel, found)

    def _value(self, data: dict[str, Any], channel: str) -> Value | None:
        own = self.own[data["ns"], data["id"]].get(channel)
        return own or self.values.get((data["ns"], channel, data["versions"].get(channel)))

    def _typed(self, ns: str, channel: str, value: Value) -> Typed:
        """Return a value, put together from what was added to an earlier one again and again."""
        known, typed = self.whole.get((ns, channel), (None, ("", b"")))
        added: list[Stored] = []
        at: Value = value
        while at is not known:
            if "base" not in at.stored:
                typed = serialised(at.stored)
                break
            if at.base is None:
                raise LookupError(
                    f"version {at.stored['base']!r} of the channel {channel!r} is not in the thread, and version "
                    f"{at.stored['version']!r} continues it. Was the document edited? Take it from a backup."
                )
            added.append(at.stored["added"])
            at = at.base
        if added:
            typed = joined(typed, added[::-1])
            self.whole[ns, channel] = value, typed
        return typed

    def channels(self, data: dict[str, Any]) -> Iterator[str]:
        """Yield the channels that may have a value in a checkpoint."""
        yield from dict.fromkeys([*data["versions"], *data["values"]])

    def form(self, ns: str, channel: str, version: Version, base: Version | None, typed: Typed) -> Stored:
        """Return the form in which a new value is stored: what was added to the base, if it is a longer list."""
        before = self.values.get((ns, channel, base)) if base is not None else None
        if before is not None and before.is_there:
            found = added_to(self._typed(ns, channel, before), typed)
            if found is not None:
                return {"version": version, "base": base, "keep": found[0], "added": found[1]}
        return {"version": version, **stored(typed)}

    def remember(self, ns: str, channel: str, version: Version, typed: Typed) -> None:
        """Remember a list that was just stored, so that the next one is compared with it at once."""
        value = self.values.get((ns, channel, version))
        if value is not None and "base" in value.stored:
            self.whole[ns, channel] = value, typed

    def ancestors(self, key: Key) -> Iterator[dict[str, Any]]:
        """Yield the checkpoints before one, the nearest first."""
        seen = {key}
        data = self.checkpoints.get(key)
        while data is not None and data["parent"] is not None:
            key = data["ns"], data["parent"]
            data = None if key in seen else self.checkpoints.get(key)
            seen.add(key)
            if data is not None:
                yield data

    def items_of(self, kept: Iterable[Key]) -> list[Item]:
        """Return new items with some checkpoints alone, their writes, and all values that they need."""
        chosen, items = set(kept), []
        there: dict[ValueKey, Value] = {}
        for key, data in self.checkpoints.items():
            if key not in chosen:
                continue
            forms = {}
            for channel in self.channels(data):
                value = self._value(data, channel)
                version = data["versions"].get(channel)
                if value is None or there.get((key[0], channel, version)) is value:
                    continue
                form = value.stored
                if "base" in form and there.get((key[0], channel, form["base"])) is not value.base:
                    form = {"version": form["version"], **stored(self._typed(key[0], channel, value))}
                forms[channel] = form
                if "version" in form:
                    there[key[0], channel, form["version"]] = value
            items.append(Item({**data, "values": forms}, SOURCE))
        items += map(run_item, {self.checkpoints[key]["run_id"] for key in chosen} & self.runs)
        for key in self.writes.keys() & chosen:
            tasks: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for write in self.ordered_writes(key):
                parts = {name: part for name, part in write.items() if name not in ("task_id", "task_path")}
                tasks.setdefault((write["task_id"], write["task_path"]), []).append(parts)
            for (task_id, task_path), writes in tasks.items():
                items.append(Item(writes_data(key, {"task_id": task_id, "task_path": task_path}, writes), SOURCE))
        return items


def run_item(run_id: str) -> Item:
    """Return the item that says that a thread has checkpoints of a run: a search finds it by the id."""
    return Item({"type": "run", "run_id": run_id}, SOURCE)


def writes_data(key: Key, task: dict[str, str], writes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the data of an item with writes of a task."""
    return {"type": "writes", "ns": key[0], "id": key[1], **task, "writes": writes}
