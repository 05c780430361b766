"""An agent that remembers you. Run it twice: the second run knows your name.

python samples/quickstart.py
"""

from demo_model import demo_model

from localstore import Agent, JsonStorage

storage = JsonStorage("tmp/sessions")
agent = Agent(
    model=demo_model(),  # in your own script: OpenAIChat(id="gpt-4o-mini")
    session_id="quickstart",
    user_id="alice",
    storage=storage,
)

is_first_run = not any(message.role == "assistant" for message in agent.get_messages_for_session())
agent.print_response("My name is Alice." if is_first_run else "What is my name?")

print(f"The conversation is in {storage.path(agent.session_id)}")
if is_first_run:
    print("Run this again: the agent will know your name.")
