"""The methods of `LocalDb` for the transcripts of external agents, such as agno's `ClaudeAgent` (agno 3.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localstore.integrations import transcripts
from localstore.integrations.transcripts import TranscriptKey, milliseconds

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage


class Transcripts:
    """The methods of `LocalDb` that read and write transcripts.

    A transcript is the sub-session `FRAMEWORK/PROJECT/SESSION` of agno's session, or with the path of a subagent
    `FRAMEWORK/PROJECT/SESSION/SUBPATH`. Each entry is an item.
    """

    def __init__(self, storage: SessionStorage) -> None:
        self._of_transcripts = storage
        self._transcripts = transcripts.Transcripts(storage)

    def append_transcript_entries(
        self,
        framework: str,
        project_key: str,
        session_id: str,
        entries: list[dict[str, Any]],
        agno_session_id: str,
        subpath: str | None = None,
    ) -> None:
        """Add entries to a transcript: all of them, or none. Ignores entries whose `uuid` is stored already.

        The transcript belongs to the session `agno_session_id` of agno, and is deleted with it.
        """
        key = TranscriptKey(framework, project_key, session_id, subpath or "")
        self._transcripts.append(key, entries, part_of=agno_session_id)

    def get_transcript_entries(
        self, framework: str, project_key: str, session_id: str, subpath: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the entries of a transcript in their order; an empty list if there is none."""
        return self._transcripts.read(TranscriptKey(framework, project_key, session_id, subpath or ""))

    def list_transcript_sessions(self, framework: str, project_key: str) -> list[dict[str, Any]]:
        """Return the main transcripts of a project, each with its `session_id` and its `mtime` in milliseconds since
        1970."""
        found = self._transcripts.sessions(framework, project_key)
        return [{"session_id": session_id, "mtime": milliseconds(info)} for session_id, info in found]

    def list_transcript_subpaths(self, framework: str, project_key: str, session_id: str) -> list[str]:
        """Return the paths of the subagents' transcripts of a session, sorted."""
        return self._transcripts.subpaths(TranscriptKey(framework, project_key, session_id))

    def delete_transcript(self, framework: str, project_key: str, session_id: str, subpath: str | None = None) -> None:
        """Delete a transcript permanently: that of one subagent or, without `subpath`, the main one and those of all
        subagents. An empty `subpath` is the main one alone."""
        key = TranscriptKey(framework, project_key, session_id, subpath or "")
        if subpath is None:
            self._transcripts.delete(key)
        else:
            self._of_transcripts.delete_session(key.name)

    def _delete_transcripts_of(self, session_id: str) -> None:
        """Delete the sub-sessions of a session that its deletion left, because they have no owner."""
        for info in self._of_transcripts.sub_sessions(session_id):
            self._of_transcripts.delete_session(info.session_id)
