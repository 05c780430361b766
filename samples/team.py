"""A team of two: both answer at once, and their leader makes one answer of it. Run it twice: it continues.

python samples/team.py
"""

from demo_model import demo_model

from localstore import Agent, JsonStorage, Message, Team

QUESTION = "Shall we take the night train to Vienna?"


def both_sides(messages: list[Message]) -> str:
    """The leader, offline: what it is given last are the answers of the two."""
    said = [line for line in messages[-1].text.splitlines() if line.startswith(("It is", "One sleeps"))]
    return " But: ".join(sorted(said, reverse=True))


storage = JsonStorage("tmp/sessions")
team = Team(
    members=[
        Agent(
            model=demo_model(lambda _: "One sleeps, and saves a hotel."),
            name="Optimist",
            instructions="Say in one short sentence what speaks for it.",
        ),
        Agent(
            model=demo_model(lambda _: "It is loud, and often late."),
            name="Sceptic",
            instructions="Say in one short sentence what speaks against it.",
        ),
    ],
    mode="collaborate",
    model=demo_model(both_sides),
    instructions="Answer in two short sentences.",
    name="Travel advisers",
    session_id="night_train",
    storage=storage,
    add_history_to_messages=True,
)

team.print_response(QUESTION)

print(f"What each of them said stands in {storage.path(team.session_id)}, or: localstore show {team.session_id}")
