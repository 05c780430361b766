"""An agent of Google's Agent Development Kit whose sessions are files. It needs no network and no key.

pip install '.[adk]'
python samples/frameworks/adk_sessions.py
"""

import asyncio
from collections.abc import AsyncGenerator

from google.adk.agents import BaseAgent, InvocationContext
from google.adk.events import Event, EventActions
from google.adk.runners import Runner
from google.genai.types import Content, Part

from localstore import JsonStorage
from localstore.integrations.adk import LocalSessionService


class Guide(BaseAgent):  # type: ignore[misc] # the ADK may be absent
    """Answers without a model, and counts its answers in the state of the session."""

    async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event, None]:
        count = ctx.session.state.get("count", 0) + 1
        answer = Content(role="model", parts=[Part(text=f"Line 13A. That was question {count}.")])
        actions = EventActions(state_delta={"count": count})
        yield Event(author=self.name, invocation_id=ctx.invocation_id, content=answer, actions=actions)


async def main() -> None:
    storage = JsonStorage("tmp/sessions")
    service = LocalSessionService(storage)
    runner = Runner(app_name="travel", agent=Guide(name="guide"), session_service=service, auto_create_session=True)
    question = Content(role="user", parts=[Part(text="Which bus?")])
    async for event in runner.run_async(user_id="alice", session_id="trip", new_message=question):
        print(event.content.parts[0].text)
    print(storage.path("travel/alice/trip"))
    print("Run this again: the session goes on.")


if __name__ == "__main__":
    asyncio.run(main())
