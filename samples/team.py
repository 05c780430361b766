"""A team of two: both members answer at the same time, and the leader combines their answers. Run it twice.

python samples/team.py
"""

from demo_model import demo_model

from localstore import Agent, JsonStorage, Message, Team

QUESTION = "Shall we take the night train to Vienna?"


def combine_offline(messages: list[Message]) -> str:
    """Stand in for the leader's model: its last message holds the members' answers."""
    answers = [line for line in messages[-1].text.splitlines() if line.startswith(("It is", "You sleep"))]
    return " But: ".join(sorted(answers, reverse=True))


storage = JsonStorage("tmp/sessions")
team = Team(
    members=[
        Agent(
            model=demo_model(lambda _: "You sleep on board and save a hotel."),
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
    model=demo_model(combine_offline),
    instructions="Answer in two short sentences.",
    name="Travel advisers",
    session_id="night_train",
    storage=storage,
)

team.print_response(QUESTION)

print(f"The answers of both members are in {storage.path(team.session_id)}")
print(f"To read them: localstore show {team.session_id}")
