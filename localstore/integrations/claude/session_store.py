"""A session store for the Claude Agent SDK: `ClaudeAgentOptions(session_store=LocalSessionStore(storage))`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from claude_agent_sdk import fold_session_summary

from localstore.integrations.transcripts import TranscriptKey, Transcripts, milliseconds
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

SOURCE = "claude-agent-sdk"
"""The `source` of the items, and the beginning of the ids of the sessions."""
_SUMMARY = "claude_summary"
"""The key of the session's state that holds the summary of the SDK."""
Key = dict[str, str]
"""`project_key`, `session_id`, and for a subagent `subpath`."""
Entry = dict[str, Any]


class LocalSessionStore:
    """A session store for the Claude Agent SDK in any storage of localstore.

        options = ClaudeAgentOptions(session_store=LocalSessionStore(JsonStorage("tmp/sessions")))

    Implements the SDK's `SessionStore` with all its optional methods. A transcript is a session, and the transcript of
    a subagent is a sub-session of it, which is deleted, restored and copied with it. Each entry is an item. An entry
    whose `uuid` is stored already is not stored again. Many processes may write to one session. A write is finished
    even if its task is cancelled.

    Raises UnstorableValue, OwnerMismatch, DocumentBroken, LockTimeout, or OSError. What is stored then stays as it was;
    the SDK tries three times.
    """

    def __init__(self, storage: SessionStorage, *, user_id: str | None = None) -> None:
        """Keep the transcripts in `storage`. New sessions belong to `user_id`, and those of others are not read."""
        self.storage = storage
        self._transcripts = Transcripts(storage, user_id)

    def __repr__(self) -> str:
        return f"LocalSessionStore({self.storage!r})"

    async def append(self, key: Key, entries: list[Entry]) -> None:
        """Add entries to a transcript: all of them, or none."""
        change = None if key.get("subpath") else partial(_with_summary, key)
        await run_in_thread(self._transcripts.append, _key(key), entries, change)

    async def load(self, key: Key) -> list[Entry] | None:
        """Return the entries of a transcript, or None if there is none."""
        return await run_in_thread(self._transcripts.read, _key(key), abandon=True) or None

    async def list_sessions(self, project_key: str) -> list[dict[str, Any]]:
        """Return the sessions of a project, each with its `session_id` and its `mtime` in milliseconds since 1970."""
        found = await run_in_thread(self._transcripts.sessions, SOURCE, project_key, abandon=True)
        return [{"session_id": session_id, "mtime": milliseconds(info)} for session_id, info in found]

    async def list_session_summaries(self, project_key: str) -> list[dict[str, Any]]:
        """Return the SDK's summaries of the sessions of a project. They are kept up to date by `append`."""
        return await run_in_thread(self._summaries, project_key, abandon=True)

    async def delete(self, key: Key) -> None:
        """Delete a transcript permanently, and with that of a session those of its subagents."""
        await run_in_thread(self._transcripts.delete, _key(key))

    async def list_subkeys(self, key: Key) -> list[str]:
        """Return the paths of the subagents' transcripts of a session."""
        return await run_in_thread(self._transcripts.subpaths, _key(key), abandon=True)

    def _summaries(self, project_key: str) -> list[dict[str, Any]]:
        summaries = []
        for session_id, info in self._transcripts.sessions(SOURCE, project_key):
            data = self._transcripts.state(TranscriptKey(SOURCE, project_key, session_id)).get(_SUMMARY)
            if isinstance(data, dict):
                summaries.append({"session_id": session_id, "mtime": milliseconds(info), "data": data})
        return summaries


def _key(key: Key) -> TranscriptKey:
    return TranscriptKey(SOURCE, key["project_key"], key["session_id"], key.get("subpath") or "")


def _with_summary(key: Key, state: dict[str, Any], entries: list[Entry]) -> dict[str, Any]:
    """Return the state with the SDK's summary after more entries."""
    data = state.get(_SUMMARY)
    before = {"session_id": key["session_id"], "mtime": 0, "data": data} if isinstance(data, dict) else None
    summary = fold_session_summary(before, key, entries)
    return {**state, _SUMMARY: summary["data"]}
