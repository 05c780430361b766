"""Run the cases of some modules in this environment: `python -m tests.agno_db.run_cases FOLDER MODULE...`

Prints a JSON object: for each case None, or what went wrong.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path


def main(folder: str, *modules: str) -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # agno writes to the standard output
    results: dict[str, str | None] = {}
    for module in modules:
        for name, case in list(vars(importlib.import_module(f"tests.agno_db.{module}")).items()):
            if not name.startswith("case_"):
                continue
            place = Path(folder, name)
            place.mkdir()
            try:
                case(place)
                results[name] = None
            except Exception:  # noqa: BLE001 - it is what is reported
                results[name] = traceback.format_exc()
    os.write(out, json.dumps(results).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
