"""agno's example of an agent that answers out of a PDF and continues its last session, on localstore.

    python samples/agno/pdf_knowledge/pdf_agent.py             # a conversation, that goes on where the last one ended
    python samples/agno/pdf_knowledge/pdf_agent.py --new       # another one
    python samples/agno/pdf_knowledge/pdf_agent.py "How do I make apple cake?"

OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL and OPENAI_EMBEDDING_MODEL say which server is asked.
"""

import os
from pathlib import Path

import postgres
import typer
from agno.agent import Agent
from agno.embedder.openai import OpenAIEmbedder
from agno.knowledge.pdf import PDFKnowledgeBase  # was: from agno.knowledge.pdf_url import PDFUrlKnowledgeBase
from agno.models.openai.like import OpenAILike
from agno.vectordb.pgvector import PgVector, SearchType

from localstore.integrations.agno import JsonStorage

server = {
    "base_url": os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    "api_key": os.environ.get("OPENAI_API_KEY", "none"),
}
model = OpenAILike(id=os.environ.get("OPENAI_MODEL", "qwen3:4b"), **server)
embedder = OpenAIEmbedder(id=os.environ.get("OPENAI_EMBEDDING_MODEL", "nomic-embed-text"), **server)
embedder.dimensions = len(embedder.get_embedding("How many numbers?"))

db_url = postgres.start("tmp/postgres")  # was: "postgresql+psycopg://ai:ai@localhost:5532/ai"
knowledge_base = PDFKnowledgeBase(
    path=Path(__file__).with_name("recipes.pdf"),
    vector_db=PgVector(table_name="recipes", db_url=db_url, search_type=SearchType.hybrid, embedder=embedder),
)
agent_storage = JsonStorage("tmp/pdf_agent")  # was: JsonStorage(dir_path="tmp/pdf_agent_json")


def pdf_agent(question: str = typer.Argument(""), new: bool = False, user: str = "user", tools: bool = True) -> None:
    """Ask the QUESTION, or have a conversation. --no-tools is for models that cannot call tools."""
    session_id = None
    if not new:
        existing_sessions = agent_storage.get_all_session_ids(user)
        if existing_sessions:
            session_id = existing_sessions[0]

    agent = Agent(
        model=model,
        session_id=session_id,
        user_id=user,
        knowledge=knowledge_base,
        storage=agent_storage,
        # Show tool calls in the response
        show_tool_calls=True,
        # The model searches the knowledge base and reads the chat history by tools; without, both are put before it
        search_knowledge=tools,
        read_chat_history=tools,
        add_references=not tools,
        add_history_to_messages=not tools,
        markdown=True,
    )
    if session_id is None:
        print("Started Session\n")
    else:
        print(f"Continuing Session: {session_id}\n")

    # Load the knowledge base: what is in it already is not loaded again
    agent.knowledge.load(recreate=False)

    if question:
        agent.print_response(question, markdown=True)
    else:
        agent.cli_app(markdown=True)


if __name__ == "__main__":
    typer.run(pdf_agent)
