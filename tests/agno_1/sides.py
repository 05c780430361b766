"""Compare our storage with agno's own: the same calls, and what agno reads from both."""

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agno.storage.json import JsonStorage as OwnStorage

from localstore.format.versions.values import is_empty
from localstore.integrations.agno import JsonStorage

HAS_STEPS = find_spec("agno.workflow.v2") is not None
"""Whether this release has workflows with steps."""


class TwinStorage(JsonStorage):
    """Our storage, which passes each write on to agno's own."""

    def __init__(self, folder: Path, mode: Any = "agent") -> None:
        super().__init__(folder, mode)
        self.own = OwnStorage(folder.with_name("own"), mode)

    def upsert(self, session: Any) -> Any:
        self.own.mode = self.mode
        assert self.own.upsert(session) is not None
        return super().upsert(session)


def comparable(session: Any) -> Any:
    """Return a session without what may differ: times and empty values.

    agno's own storage overwrites the time of creation, and agno treats empty values as absent.
    """
    values = asdict(session) if not hasattr(session, "upsert_run") else session.to_dict()
    for key in ("created_at", "updated_at"):
        second = values.pop(key)
        assert type(second) is int or (second is None and "workflow_id" in values)  # as agno once left it
    return _filled(json.loads(json.dumps(values)))


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        filled = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in filled.items() if not is_empty(item)}
    return [_filled(item) for item in value] if isinstance(value, list) else value
