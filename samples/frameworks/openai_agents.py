"""An agent of the OpenAI Agents SDK that remembers when it is run again. It needs no key: its model is a function.

pip install '.[openai-agents]'
python samples/frameworks/openai_agents.py
localstore show trip --store tmp/sessions
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from localstore import JsonStorage
from localstore.integrations.openai_agents import LocalSession


class OfflineModel(Model):  # type: ignore[misc] # the SDK may be absent
    """Answers with the number of questions so far."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **options: Any) -> ModelResponse:  # noqa: A002, ARG002 (the SDK's names)
        questions = [item for item in input if item.get("role") == "user"] if isinstance(input, list) else [input]
        text = ResponseOutputText(type="output_text", text=f"Question {len(questions)}: noted.", annotations=[])
        message = ResponseOutputMessage(
            id="offline", type="message", role="assistant", status="completed", content=[text]
        )
        return ModelResponse([message], Usage(), None)

    def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


async def main() -> None:
    set_tracing_disabled(True)  # otherwise the SDK sends what it does to OpenAI
    session = LocalSession("trip", JsonStorage("tmp/sessions"), user_id="alice", entity_id="guide")
    guide = Agent(name="guide", model=OfflineModel())
    for question in ("Which train goes to Vienna?", "And back?"):
        result = await Runner.run(guide, question, session=session)
        print(f"> {question}\n{result.final_output}")
    print(f"{len(await session.get_items())} items are stored")


asyncio.run(main())
