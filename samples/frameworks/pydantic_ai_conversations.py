"""An agent of Pydantic AI that remembers when it is run again. It needs no network and no key.

pip install '.[pydantic-ai]'
python samples/frameworks/pydantic_ai_conversations.py
localstore show train-chat --store tmp/sessions
"""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from localstore import JsonStorage
from localstore.integrations.pydantic_ai import LocalConversationStore


def answer(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """Answer with the number of questions so far."""
    questions = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return ModelResponse(parts=[TextPart(f"Question {len(questions)}: noted.")])


async def main() -> None:
    store = LocalConversationStore(JsonStorage("tmp/sessions"))
    agent = Agent(FunctionModel(answer))
    conversation = await store.load("train-chat") or Conversation(conversation_id="train-chat")
    for question in ("Which train goes to Vienna?", "And back?"):
        result = await agent.run(question, conversation=conversation)
        await store.save(result, scope="alice")
        conversation = result.conversation
        print(f"> {question}\n{result.output}")
    print(f"{len(conversation.messages)} messages are stored")


asyncio.run(main())
