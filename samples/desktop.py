"""An assistant for your desktop: it looks into a folder, keeps a list of things to do, and remembers.

python samples/desktop.py        talk with it; /help lists what can be done, bye ends
"""

from pathlib import Path

from demo_model import demo_model

from localstore import Agent, JsonStorage, Message, RunContext, ToolCall


def list_files(folder: str = ".") -> list[str]:
    """List the files in a folder.

    Args:
        folder: Its path.
    """
    return sorted(path.name for path in Path(folder).iterdir())[:100]


def remind(of: str, context: RunContext) -> str:
    """Put something on the user's list of things to do.

    Args:
        of: What is to be done.
    """
    context.session_state["to_do"].append(of)
    return f"{len(context.session_state['to_do'])} things to do"


def offline(messages: list[Message]) -> str | Message:
    """A model that can do two things."""
    last = messages[-1]
    if last.role == "tool":
        return f"Done: {last.text}."
    words = last.text.removeprefix("Remind me of ")
    if words != last.text:
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="remind", arguments={"of": words})])
    if "files" in last.text:
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="list_files")])
    return f"Say 'Remind me of ...', or ask for files. {messages[0].text}"


agent = Agent(
    model=demo_model(offline),
    name="Assistant",
    tools=[list_files, remind],
    instructions="You help with a computer. The user has to do: {to_do}.",
    session_id="assistant",
    storage=JsonStorage("tmp/sessions"),
    session_state={"to_do": []},
    add_history_to_messages=True,
    num_history_runs=10,
    show_tool_calls=True,
    save_partial=True,
)
agent.cli_app()
