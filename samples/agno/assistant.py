"""agno's example of a session that is kept as JSON, on localstore. Run it twice: the second run continues the first.

python samples/agno/assistant.py
"""

from agno.agent import Agent
from agno.models.openai import OpenAIChat

from localstore.integrations.agno import JsonStorage

agent = Agent(
    model=OpenAIChat(id="gpt-4o-mini"),
    # Fix the session id to continue the same session across execution cycles
    session_id="fixed_id_for_demo",
    storage=JsonStorage("tmp/agent_sessions"),  # was: JsonStorage(dir_path="tmp/agent_sessions_json")
    add_history_to_messages=True,
    num_history_runs=3,
)

agent.print_response("What was my last question?")
agent.print_response("What is the capital of France?")
