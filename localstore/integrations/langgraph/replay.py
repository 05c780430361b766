"""Replay the checkpoints of another saver, such as LangGraph's `SqliteSaver`, into one of localstore."""

from __future__ import annotations

from typing import Any


def replay(source: Any, target: Any) -> int:
    """Put every checkpoint of a saver into another one, with its writes, and return how many there were.

        with SqliteSaver.from_conn_string("checkpoints.db") as source:
            replay(source, LocalCheckpointSaver(JsonStorage("tmp/sessions")))

    Both are synchronous checkpoint savers of LangGraph. Older checkpoints come first, so that each one follows its
    parent. It may be repeated: what is stored already is not stored twice. The paths of tasks are not replayed, because
    a saver does not list them.
    """
    versions: dict[tuple[str, str, str], dict[str, Any]] = {}
    configs = [found.config for found in source.list(None)]
    for config in reversed(configs):
        found = source.get_tuple(config)
        if found is None:
            continue  # deleted meanwhile
        names = found.config["configurable"]
        thread, namespace = names["thread_id"], names.get("checkpoint_ns", "")
        parent_id = (found.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        before = versions.get((thread, namespace, parent_id), {})
        now = versions[thread, namespace, names["checkpoint_id"]] = dict(found.checkpoint["channel_versions"])
        place = {"thread_id": thread, "checkpoint_ns": namespace}
        place |= {} if parent_id is None else {"checkpoint_id": parent_id}
        changed = {channel: version for channel, version in now.items() if before.get(channel) != version}
        put = target.put({"configurable": place}, found.checkpoint, found.metadata, changed)
        tasks: dict[str, list[tuple[str, Any]]] = {}
        for task_id, channel, value in found.pending_writes or ():
            tasks.setdefault(task_id, []).append((channel, value))
        for task_id, writes in tasks.items():
            target.put_writes(put, writes, task_id)
    return len(configs)
