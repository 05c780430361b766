"""Stores the sessions of AI agents as plain JSON or YAML documents in a directory tree.

    from localstore import JsonStorage, Message, Run

    storage = JsonStorage("tmp/sessions")
    storage.append("s1", Run(messages=[Message(role="user", content="hi")]), user_id="alice")
    storage.read("s1").messages()

`JsonStorage` and `YamlStorage` open a store in a folder, and `open_storage` one in a folder or a database. `Session`,
`Run` and `Message` are what it holds. `Agent`, `Team` and `Workflow` run with a storage and remember. All errors are
subclasses of `LocalstoreError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localstore.agents.agent import Agent
    from localstore.agents.models.model import FunctionModel
    from localstore.agents.models.openai_chat import OpenAIChat
    from localstore.agents.steps import Condition, Loop, Parallel, StepContext, Task
    from localstore.agents.team import Team
    from localstore.agents.tools.tool import RunContext, Tool
    from localstore.agents.workflow import Workflow
    from localstore.databases.opening import open_storage
    from localstore.errors import (
        BackupNotFound,
        Conflict,
        DocumentBroken,
        KindMismatch,
        LocalstoreError,
        LockTimeout,
        NewerFormat,
        NoFile,
        OlderFormat,
        OwnerMismatch,
        ResponseInvalid,
        RunNotFound,
        SessionNotFound,
        StateConflict,
        StateInvalid,
        StoreNotFound,
        StoreUnavailable,
        UnstorableValue,
        WorkflowChanged,
    )
    from localstore.models.filter import Filter
    from localstore.models.search_hit import SearchHit
    from localstore.models.session import ContentPart, Message, Metrics, Origin, Run, Session, Step, ToolCall, Update
    from localstore.models.session_info import SessionInfo
    from localstore.models.stats import Counts, Stats
    from localstore.storage.contract import SessionStorage
    from localstore.storage.items import Item
    from localstore.storage.storage import JsonStorage, YamlStorage

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "BackupNotFound",
    "Condition",
    "Conflict",
    "ContentPart",
    "Counts",
    "DocumentBroken",
    "Filter",
    "FunctionModel",
    "Item",
    "JsonStorage",
    "KindMismatch",
    "LocalstoreError",
    "LockTimeout",
    "Loop",
    "Message",
    "Metrics",
    "NewerFormat",
    "NoFile",
    "OlderFormat",
    "OpenAIChat",
    "Origin",
    "OwnerMismatch",
    "Parallel",
    "ResponseInvalid",
    "Run",
    "RunContext",
    "RunNotFound",
    "SearchHit",
    "Session",
    "SessionInfo",
    "SessionNotFound",
    "SessionStorage",
    "StateConflict",
    "StateInvalid",
    "Stats",
    "Step",
    "StepContext",
    "StoreNotFound",
    "StoreUnavailable",
    "Task",
    "Team",
    "Tool",
    "ToolCall",
    "UnstorableValue",
    "Update",
    "Workflow",
    "WorkflowChanged",
    "YamlStorage",
    "open_storage",
]

# Loaded at first use, so that `import localstore` stays light.
_HOME = {
    "agents.agent": ("Agent",),
    "agents.models.model": ("FunctionModel",),
    "agents.models.openai_chat": ("OpenAIChat",),
    "agents.steps": ("Condition", "Loop", "Parallel", "StepContext", "Task"),
    "agents.team": ("Team",),
    "agents.tools.tool": ("RunContext", "Tool"),
    "agents.workflow": ("Workflow",),
    "models.search_hit": ("SearchHit",),
    "models.filter": ("Filter",),
    "models.stats": ("Counts", "Stats"),
    "models.session_info": ("SessionInfo",),
    "models.session": ("ContentPart", "Message", "Metrics", "Origin", "Run", "Session", "Step", "ToolCall", "Update"),
    "storage.contract": ("SessionStorage",),
    "storage.items": ("Item",),
    "storage.storage": ("JsonStorage", "YamlStorage"),
    "databases.opening": ("open_storage",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'localstore' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"localstore.{_MODULE.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
