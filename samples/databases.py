"""An agent whose sessions are in a folder or in a database: give the path or the URL. It prints the same for all.

python samples/databases.py tmp/sessions
python samples/databases.py sqlite:///sessions.db
python samples/databases.py postgresql://postgres@localhost/postgres
python samples/databases.py mongodb://localhost/agents
"""

import sys

from demo_model import demo_model

from localstore import Agent, SessionStorage, open_storage


def main(where: str) -> None:
    with open_storage(where) as storage:
        converse(storage)
        look(storage)


def converse(storage: SessionStorage) -> None:
    """Ask one question in each run of this program. The session remembers the earlier ones."""
    agent = Agent(model=demo_model(), storage=storage, session_id="databases", user_id="alice", name="assistant")
    session = storage.read("databases")
    question = "What is my name?" if session and session.runs else "My name is Alice."
    print(f"> {question}")
    print(agent.run(question).answer)


def look(storage: SessionStorage) -> None:
    """Print what every storage can be asked."""
    for info in storage.list_sessions(user_id="alice"):
        print(f"{info.session_id}: {info.title} ({info.runs} runs, {info.status})")
    for hit in storage.search("name"):
        print(f"found: {hit.snippet}")
    print(f"runs of all sessions: {storage.stats().total.runs}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tmp/sessions")
