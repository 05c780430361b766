"""An assistant for your desktop: it lists files, keeps a to-do list, and remembers both.

python samples/desktop.py        chat with it; /help lists the commands, bye ends the chat
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


def add_task(task: str, context: RunContext) -> str:
    """Add a task to the user's to-do list.

    Args:
        task: What the user has to do.
    """
    context.session_state["to_do"].append(task)
    return f"{len(context.session_state['to_do'])} tasks on the list"


def answer_offline(messages: list[Message]) -> str | Message:
    """Stand in for a model: call one of the two tools, then report its result."""
    last = messages[-1]
    if last.role == "tool":
        return f"Done: {last.text}."
    task = last.text.removeprefix("Remind me to ")
    if task != last.text:
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="add_task", arguments={"task": task})])
    if "files" in last.text:
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="list_files")])
    return f"Say 'Remind me to ...', or ask for files. {messages[0].text}"


agent = Agent(
    model=demo_model(answer_offline),
    name="Assistant",
    tools=[list_files, add_task],
    instructions="You help with a computer. The user's to-do list: {to_do}.",
    session_id="assistant",
    storage=JsonStorage("tmp/sessions"),
    session_state={"to_do": []},
    num_history_runs=10,
    show_tool_calls=True,
    save_partial=True,
)
agent.cli_app()
