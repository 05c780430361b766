"""An agent of Strands Agents that remembers when it is run again. It needs no key: its model is a function.

pip install '.[strands]'
python samples/frameworks/strands_agents.py
localstore show trip --store tmp/sessions
"""

from collections.abc import AsyncIterator
from typing import Any

from strands import Agent
from strands.models import Model
from strands.session.repository_session_manager import RepositorySessionManager

from localstore import JsonStorage
from localstore.integrations.strands import LocalSessionRepository


class OfflineModel(Model):  # type: ignore[misc] # Strands may be absent
    """Answers with the number of questions so far."""

    def update_config(self, **options: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        return {}

    def structured_output(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def stream(self, messages: Any, *args: Any, **options: Any) -> AsyncIterator[dict[str, Any]]:  # noqa: ARG002
        questions = [message for message in messages if message["role"] == "user"]
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": f"Question {len(questions)}: noted."}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}


repository = LocalSessionRepository(JsonStorage("tmp/sessions"))
manager = RepositorySessionManager("trip", repository)
guide = Agent(model=OfflineModel(), agent_id="guide", session_manager=manager, callback_handler=None)
for question in ("Which train goes to Vienna?", "And back?"):
    print(f"> {question}\n{str(guide(question)).strip()}")
print(f"{len(repository.list_messages('trip', 'guide'))} messages are stored")
