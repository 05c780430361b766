"""A run of an agent: what is stored of its tool calls when its consumer leaves."""

from __future__ import annotations

from pathlib import Path

from localstore import Agent, FunctionModel, JsonStorage, Message, ToolCall
from localstore.agents.events import ToolCallFinished
from localstore.agents.tools.tool import RunContext


def test_results_of_concurrent_tools_are_stored_if_the_stream_is_closed(tmp_path: Path) -> None:
    """All calls of the group had run, but the run had only the result whose event came first.

    The results of the others were lost, and with them the record of what the group changed in the state.
    """

    async def pay(amount: int, context: RunContext) -> str:
        context.session_state[str(amount)] = "paid"
        return f"paid {amount}"

    def answer(messages: list[Message]) -> Message:
        calls = [ToolCall(id=str(amount), name="pay", arguments={"amount": amount}) for amount in (1, 2)]
        return Message(role="assistant", tool_calls=calls)

    storage = JsonStorage(tmp_path)
    agent = Agent(model=FunctionModel(answer), tools=[pay], session_id="s", storage=storage)
    events = agent.stream("pay both")
    next(event for event in events if isinstance(event, ToolCallFinished))
    events.close()
    session = storage.read("s")
    assert session is not None
    (run,) = session.runs
    assert run.status == "cancelled"
    assert [message.text for message in run.messages if message.role == "tool"] == ["paid 1", "paid 2"]
    assert run.messages[-1].state_changes is not None
