"""A checkpointer for LangGraph: `builder.compile(checkpointer=LocalCheckpointSaver(JsonStorage("tmp/sessions")))`."""

from __future__ import annotations

import random
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from localstore.errors import Conflict, SessionNotFound
from localstore.integrations.langgraph.encoding import serialised, stored
from localstore.integrations.langgraph.thread_log import SOURCE, Key, ThreadLog, run_item, writes_data
from localstore.storage.items import Item
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from localstore.storage.contract import SessionStorage

Config = Any  # a RunnableConfig

_LOGS = 128
"""Of how many threads a saver keeps the content in memory, so that it reads only what is new."""
_COUNTERS = "counters_since_delta_snapshot"
"""The key of LangGraph's metadata that names the channels whose value consists of writes since a snapshot."""


class LocalCheckpointSaver(BaseCheckpointSaver[str]):  # type: ignore[misc] # LangGraph may be absent
    """Keeps the checkpoints of LangGraph in any storage of localstore.

        saver = LocalCheckpointSaver(JsonStorage("tmp/sessions"))
        graph = builder.compile(checkpointer=saver)
        graph.invoke(question, {"configurable": {"thread_id": "trip"}})

    A thread is the session with its id, and each checkpoint is an entry with the values that changed. A list that
    became longer is stored as what was added to it. The methods beginning with `a` do the same as the others in a
    thread. Many tasks, threads and processes may use the same storage. A write is finished even if its task is
    cancelled.

    Raises UnstorableValue, DocumentBroken, LockTimeout, or OSError, and what the serialiser raises. What is stored then
    stays as it was.
    """

    def __init__(self, storage: SessionStorage, *, serde: Any = None) -> None:
        """Keep checkpoints in `storage`, such as `JsonStorage("tmp/sessions")`.

        Args:
            storage: The storage.
            serde: LangGraph's serialiser; None means its default. What it encrypts is stored as base64.
        """
        super().__init__(serde=serde)
        self.storage = storage
        self._logs: OrderedDict[str, ThreadLog] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"LocalCheckpointSaver({self.storage!r})"

    # Reading

    def get_tuple(self, config: Config) -> CheckpointTuple | None:
        """Return the checkpoint that the configuration names, or the newest of its namespace; None if there is none."""
        thread_id, ns = _place(config)
        log = self._log(thread_id)
        with log.lock:
            log.refresh(self.storage, thread_id)
            return self._tuple(log, thread_id, (ns, get_checkpoint_id(config) or log.newest.get(ns, "")))

    def list(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the name in the base class
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, the newest first. Without a configuration, those of all threads come one after another."""
        for thread_id in self._threads(config):
            log = self._log(thread_id)
            for key in self._listed(log, thread_id, config, before):
                if limit is not None and limit <= 0:
                    return
                with log.lock:
                    found = self._tuple(log, thread_id, key, filter)
                if found is not None:
                    limit = None if limit is None else limit - 1
                    yield found

    def get_delta_channel_history(self, *, config: Config, channels: Sequence[str]) -> dict[str, Any]:
        """Return the writes to channels since the last checkpoint that has their value, and that value as `seed`."""
        thread_id, ns = _place(config)
        found: dict[str, Any] = {channel: {"writes": []} for channel in channels}
        log = self._log(thread_id)
        with log.lock:
            log.refresh(self.storage, thread_id)
            missing = set(channels)
            for data in log.ancestors((ns, get_checkpoint_id(config) or log.newest.get(ns, ""))):
                for write in reversed(log.ordered_writes((ns, data["id"]))):
                    if write["channel"] in missing:
                        found[write["channel"]]["writes"].append(self._write(write))
                for channel in [*missing]:
                    typed = log.value(data, channel)
                    if typed is not None:
                        found[channel]["seed"] = self.serde.loads_typed(typed)
                        missing.discard(channel)
                if not missing:
                    break
        for history in found.values():
            history["writes"].reverse()
        return found

    # Writing

    def put(self, config: Config, checkpoint: Any, metadata: Any, new_versions: dict[str, Any]) -> Config:
        """Store a checkpoint with the values that are new in it. Return its configuration."""
        thread_id, ns = _place(config)
        body = dict(checkpoint)
        values, versions = body.pop("channel_values", {}), body.pop("channel_versions", {})
        serial = {
            channel: self.serde.dumps_typed(value) for channel, value in values.items() if channel in new_versions
        }
        known = get_checkpoint_metadata(config, metadata)
        data = {
            "type": "checkpoint",
            "ns": ns,
            "id": checkpoint["id"],
            "parent": config["configurable"].get("checkpoint_id"),
            "run_id": None if known.get("run_id") is None else str(known["run_id"]),
            "metadata": stored(self.serde.dumps_typed(known)),
            "checkpoint": stored(self.serde.dumps_typed(body)),
            "versions": versions,
        }

        def items(log: ThreadLog) -> list[Item]:
            parent = log.checkpoints.get((ns, data["parent"]), {"versions": {}})["versions"]
            forms: dict[str, Any] = {}
            for channel, version in new_versions.items():
                if channel in serial:
                    forms[channel] = log.form(ns, channel, version, parent.get(channel), serial[channel])
                else:
                    forms[channel] = {"version": version}
            for channel in values.keys() - new_versions.keys():
                if channel not in versions or parent.get(channel) != versions[channel]:  # nobody else stored it
                    named = {"version": versions[channel]} if channel in versions else {}
                    forms[channel] = named | stored(self.serde.dumps_typed(values[channel]))
            new = {**data, "values": forms}
            if log.checkpoints.get((ns, checkpoint["id"])) == new:
                return []
            run_id = new["run_id"]
            return [*([run_item(run_id)] if run_id and run_id not in log.runs else []), Item(new, SOURCE)]

        log = self._append(thread_id, items)
        with log.lock:
            for channel, typed in serial.items():
                log.remember(ns, channel, new_versions[channel], typed)
        return _config(config["configurable"]["thread_id"], (ns, checkpoint["id"]))

    def put_writes(self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Store the writes of a task. A write that is stored already is not stored twice."""
        settings = config["configurable"]
        key = settings.get("checkpoint_ns", ""), settings["checkpoint_id"]
        new = [
            {"index": WRITES_IDX_MAP.get(channel, index), "channel": channel, **stored(self.serde.dumps_typed(value))}
            for index, (channel, value) in enumerate(writes)
        ]
        task = {"task_id": task_id, "task_path": task_path}

        def items(log: ThreadLog) -> list[Item]:
            known = log.writes.get(key, {})
            places = [(task_id, write["index"]) for write in new]
            missing = [
                write
                for place, write in zip(places, new, strict=True)
                if place not in known or (place[1] < 0 and known[place] != {**write, **task})
            ]
            return [Item(writes_data(key, task, missing), SOURCE)] if missing else []

        self._append(str(settings["thread_id"]), items)

    # Removing and copying

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread permanently, if there is one."""
        self.storage.delete_session(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, with their writes, in all threads.

        A search finds the threads. The writes that other checkpoints need for a `DeltaChannel` are not kept. Each id
        stands for itself: LangGraph has no patterns here. Raises TypeError for a single text.
        """
        for run_id in _each("run_ids", run_ids):
            words = run_id.replace('"', " ")
            has_words = any(map(str.isalnum, words))
            found = self.storage.search(f'"{words}"' if has_words else run_id, literal=not has_words, limit=None)
            for thread_id in {hit.session_id for hit in found}:
                self._keep(
                    thread_id,
                    lambda log, gone=run_id: {  # type: ignore[misc]
                        key for key, data in log.checkpoints.items() if data["run_id"] != gone
                    },
                )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Add all checkpoints and writes of a thread to another one, in one write."""
        copies = [Item(item.data, SOURCE) for item in self.storage.items(str(source_thread_id), source=SOURCE)]
        self.storage.append_items(str(target_thread_id), copies)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove all but the newest checkpoint of each namespace from threads; with the strategy "delete", everything.

        Earlier checkpoints stay as far as a `DeltaChannel` needs them. Raises TypeError for a single text.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f'strategy must be "keep_latest" or "delete", not {strategy!r}')
        for thread_id in _each("thread_ids", thread_ids):
            if strategy == "delete":
                self.delete_thread(thread_id)
            else:
                self._keep(thread_id, self._needed)

    def _needed(self, log: ThreadLog) -> set[Key]:
        """Return the newest checkpoint of each namespace, and those that it needs to put its channels together."""
        needed = set()
        for key in log.newest.items():
            needed.add(key)
            missing = {*(self.serde.loads_typed(serialised(log.checkpoints[key]["metadata"])).get(_COUNTERS) or ())}
            missing = {channel for channel in missing if log.value(log.checkpoints[key], channel) is None}
            for data in log.ancestors(key):
                if not missing:
                    break
                needed.add((key[0], data["id"]))
                missing = {channel for channel in missing if log.value(data, channel) is None}
        return needed

    def get_next_version(self, current: Any, channel: None) -> str:  # noqa: ARG002 - the signature of the base class
        """Return the version of a channel after another one. It is random in part, since threads may branch."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311 - no secret

    # The same calls for async code

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        """Do what `get_tuple` does."""
        return await run_in_thread(self.get_tuple, config, abandon=True)

    async def alist(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the name in the base class
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Do what `list` does."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await run_in_thread(next, found, None, abandon=True)) is not None:
            yield one

    async def aput(self, config: Config, checkpoint: Any, metadata: Any, new_versions: dict[str, Any]) -> Config:
        """Do what `put` does."""
        return await run_in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Do what `put_writes` does."""
        await run_in_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Do what `delete_thread` does."""
        await run_in_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do what `delete_for_runs` does."""
        await run_in_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do what `copy_thread` does."""
        await run_in_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Do what `prune` does."""
        await run_in_thread(lambda: self.prune(thread_ids, strategy=strategy))

    async def aget_delta_channel_history(self, *, config: Config, channels: Sequence[str]) -> dict[str, Any]:
        """Do what `get_delta_channel_history` does."""
        return await run_in_thread(
            lambda: self.get_delta_channel_history(config=config, channels=channels), abandon=True
        )

    def _log(self, thread_id: str) -> ThreadLog:
        with self._lock:
            log = self._logs.setdefault(thread_id, ThreadLog())
            self._logs.move_to_end(thread_id)
            if len(self._logs) > _LOGS:
                self._logs.popitem(last=False)
            return log

    def _append(self, thread_id: str, items: Callable[[ThreadLog], Iterable[Item]]) -> ThreadLog:
        """Add the items that a function makes from the content of a thread, which nobody changes meanwhile."""
        log = self._log(thread_id)
        with log.lock:
            while True:
                log.refresh(self.storage, thread_id)
                new = [*items(log)]
                if not new:
                    return log
                try:
                    revision = self.storage.append_items(thread_id, new, expected_revision=log.revision)
                except Conflict:
                    continue  # somebody else added something: each item has a new id
                log.add(new, revision)
                return log

    def _keep(self, thread_id: str, chosen: Callable[[ThreadLog], set[Key]]) -> None:
        """Remove all checkpoints but the chosen ones from a thread, in one write."""
        log = self._log(thread_id)
        with log.lock:
            while True:
                log.refresh(self.storage, thread_id)
                kept = chosen(log)
                if kept >= log.checkpoints.keys():
                    return
                try:
                    self.storage.replace_items(
                        thread_id, log.items_of(kept), expected_revision=log.revision, source=SOURCE
                    )
                except Conflict:
                    continue
                except SessionNotFound:
                    pass
                return

    def _threads(self, config: Config | None) -> Iterator[str]:
        if config is not None:
            yield str(config["configurable"]["thread_id"])
            return
        for info in self.storage.sessions():
            if self.storage.items(info.session_id, 1, source=SOURCE):
                yield info.session_id

    def _listed(self, log: ThreadLog, thread_id: str, config: Config | None, before: Config | None) -> Sequence[Key]:
        """Return the checkpoints of a thread that a listing may show, the newest first."""
        settings = config["configurable"] if config is not None else {}
        ns, chosen = settings.get("checkpoint_ns"), settings.get("checkpoint_id")
        end = get_checkpoint_id(before) if before is not None else None
        with log.lock:
            log.refresh(self.storage, thread_id)
            return sorted(
                (
                    key
                    for key in log.checkpoints
                    if ns in (None, key[0]) and chosen in (None, key[1]) and (end is None or key[1] < end)
                ),
                key=lambda key: key[1],
                reverse=True,
            )

    def _tuple(
        self, log: ThreadLog, thread_id: str, key: Key, matching: dict[str, Any] | None = None
    ) -> CheckpointTuple | None:
        """Return a checkpoint, or None if it is not there or its metadata do not match."""
        data = log.checkpoints.get(key)
        if data is None:
            return None
        metadata = self.serde.loads_typed(serialised(data["metadata"]))
        if any(metadata.get(name) != value for name, value in (matching or {}).items()):
            return None
        checkpoint = self.serde.loads_typed(serialised(data["checkpoint"]))
        found = {channel: log.value(data, channel) for channel in log.channels(data)}
        values = {channel: self.serde.loads_typed(typed) for channel, typed in found.items() if typed is not None}
        checkpoint |= {"channel_values": values, "channel_versions": dict(data["versions"])}
        parent = None if data["parent"] is None else _config(thread_id, (key[0], data["parent"]))
        writes = [self._write(write) for write in log.ordered_writes(key)]
        return CheckpointTuple(_config(thread_id, key), checkpoint, metadata, parent, writes)

    def _write(self, write: dict[str, Any]) -> tuple[str, str, Any]:
        return write["task_id"], write["channel"], self.serde.loads_typed(serialised(write))


def _each(name: str, ids: Sequence[str]) -> list[str]:
    """Return ids as texts. Raises TypeError for a single text, whose characters would be taken for ids."""
    if isinstance(ids, str | bytes):
        raise TypeError(f"{name} must be a list of ids, not the text {ids!r}. Use [{ids!r}]; there are no patterns.")
    return [*map(str, ids)]


def _place(config: Config) -> tuple[str, str]:
    """Return the thread and the namespace that a configuration names."""
    settings = config["configurable"]
    return str(settings["thread_id"]), settings.get("checkpoint_ns", "")


def _config(thread_id: Any, key: Key) -> Config:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": key[0], "checkpoint_id": key[1]}}
