"""Transcripts of the Claude Agent SDK. It needs no key: the entries are given to the store as the SDK would do it.

    pip install '.[claude]'
    python samples/frameworks/claude_agent.py
    localstore ls --store tmp/sessions

With a key, pass the store to the SDK: `ClaudeAgentOptions(session_store=store)`.
"""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from claude_agent_sdk import list_sessions_from_store, project_key_for_directory

from localstore import JsonStorage
from localstore.integrations.claude import LocalSessionStore


async def main() -> None:
    store = LocalSessionStore(JsonStorage("tmp/sessions"))
    key = {"project_key": project_key_for_directory("."), "session_id": str(uuid4())}
    said = {"user": "Which train goes to Vienna?", "assistant": [{"type": "text", "text": "The one at 7:58."}]}
    for role, content in said.items():
        about = {"uuid": str(uuid4()), "sessionId": key["session_id"], "timestamp": datetime.now(UTC).isoformat()}
        await store.append(key, [{"type": role, "message": {"role": role, "content": content}, **about}])
    for info in await list_sessions_from_store(store, directory="."):
        print(f"{info.session_id}: {info.first_prompt}")


asyncio.run(main())
