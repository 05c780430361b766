"""The first example of the documentation: `python -m tests.agno_db.seed STORE BASE_URL QUESTION [TIMES]`."""

import sys

from agno.agent import Agent
from agno.models.openai import OpenAIChat

from localstore.integrations.agno_db import LocalDb


def main(store: str, base_url: str, question: str, times: str = "1") -> None:
    for number in range(int(times)):
        agent = Agent(
            model=OpenAIChat(id="scripted", base_url=base_url, api_key="k"),
            session_id="fixed_id_for_demo",
            db=LocalDb(store),
            add_history_to_context=True,
            num_history_runs=3,
            telemetry=False,
        )
        agent.run(question if times == "1" else f"{question} {number}")


if __name__ == "__main__":
    main(*sys.argv[1:])
