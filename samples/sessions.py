"""List a user's sessions and continue the newest one, or start another with --new.

python samples/sessions.py
python samples/sessions.py --new
"""

from argparse import ArgumentParser

from demo_model import demo_model

from localstore import Agent, JsonStorage

parser = ArgumentParser(description="List your sessions and continue the newest one.")
parser.add_argument("--new", action="store_true", help="start a new session")
arguments = parser.parse_args()

storage = JsonStorage("tmp/sessions")
sessions = storage.list_sessions(user_id="alice")
for session in sessions:
    print(f"{session.session_id}: {session.runs} runs, the last at {session.updated_at:%Y-%m-%d %H:%M} UTC")

newest = None if arguments.new or not sessions else sessions[0].session_id
agent = Agent(
    model=demo_model(),  # in your own script: OpenAIChat(id="gpt-4o-mini")
    session_id=newest,
    user_id="alice",
    storage=storage,
)
print(f"{'Continuing' if newest else 'Starting'} {agent.session_id}")

for question in ("What is my name?", "My name is Alice.", "What is my name?"):
    agent.print_response(question)

print("The session so far:")
for message in agent.get_messages_for_session():
    print(f"  {message.role}: {message.text}")
print(f"Open it in your editor: {storage.path(agent.session_id)}")
