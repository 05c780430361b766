"""An agent that remembers, in a YAML document. Run it twice: the second run continues the first.

python samples/quickstart_yaml.py
"""

from demo_model import demo_model

from localstore import Agent, YamlStorage

storage = YamlStorage("tmp/sessions")
agent = Agent(
    model=demo_model(),  # yours: OpenAIChat(id="gpt-4o-mini")
    name="Geographer",
    session_id="fixed_id_for_yaml_demo",
    user_id="alice",
    storage=storage,
    add_history_to_messages=True,
    num_history_runs=3,
)

agent.print_response("What was my last question?")
agent.print_response("What is the capital of France?")
agent.print_response("What was my last question?")

print("The session so far:")
for message in agent.get_messages_for_session():
    print(f"  {message.role}: {message.text}")
print(f"Open it in your editor: {storage.path(agent.session_id)}")
