"""A graph of LangGraph that goes on when it is run again. It needs no network and no key.

pip install '.[langgraph]' langgraph
python samples/frameworks/langgraph_checkpoints.py
localstore show train-graph --store tmp/sessions
"""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph

from localstore import JsonStorage
from localstore.integrations.langgraph import LocalCheckpointSaver


class Talk(TypedDict):
    messages: Annotated[list[dict[str, str]], operator.add]


def answer(state: Talk) -> Any:
    """Answer with the number of questions so far."""
    questions = [message for message in state["messages"] if message["role"] == "user"]
    return {"messages": [{"role": "assistant", "content": f"Question {len(questions)}: noted."}]}


builder = StateGraph(Talk)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile(checkpointer=LocalCheckpointSaver(JsonStorage("tmp/sessions")))

config: Any = {"configurable": {"thread_id": "train-graph"}}
for question in ("Which train goes to Vienna?", "And back?"):
    state = graph.invoke({"messages": [{"role": "user", "content": question}]}, config)
    print(f"> {question}\n{state['messages'][-1]['content']}")
print(f"{len(state['messages'])} messages are stored")
