"""List a user's sessions and continue the newest one, or begin another with --new.

python samples/sessions.py
python samples/sessions.py --new
"""

from argparse import ArgumentParser

from demo_model import demo_model

from localstore import Agent, JsonStorage

parser = ArgumentParser(description="List your sessions and continue the newest one.")
parser.add_argument("--new", action="store_true", help="begin a new session")
arguments = parser.parse_args()

storage = JsonStorage("tmp/sessions")
sessions = storage.list_sessions(user_id="alice")
for session in sessions:
    print(f"{session.session_id}: {session.runs} runs, the last at {session.updated_at}")

continued = None if arguments.new or not sessions else sessions[0].session_id
agent = Agent(
    model=demo_model(),  # yours: OpenAIChat(id="gpt-4o-mini")
    name="Geographer",
    session_id=continued,
    user_id="alice",
    storage=storage,
    add_history_to_messages=True,
)
print(f"{'Continuing' if continued else 'Beginning'} {agent.session_id}")

agent.print_response("What was my last question?")
agent.print_response("What is the capital of France?")
agent.print_response("What was my last question?")

print("The session so far:")
for message in agent.get_messages_for_session():
    print(f"  {message.role}: {message.text}")
print(f"Open it in your editor: {storage.path(agent.session_id)}")
