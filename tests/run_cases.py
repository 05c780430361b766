"""Run the cases of some modules in this environment: `python -m tests.run_cases FOLDER MODULE...`

A case is a function, which may be async, whose name begins with `case_`; it gets a folder of its own. Prints a JSON
object: for each case None, or what went wrong.
"""

import ast
import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cases(module: str) -> list[str]:
    """Return the names of the cases of a module, without importing it."""
    body = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")).body
    functions = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [name for name in functions if name.startswith("case_")]


def main(folder: str, *modules: str) -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # frameworks write to the standard output
    results: dict[str, str | None] = {}
    for module in modules:
        for name, case in list(vars(importlib.import_module(module)).items()):
            if not name.startswith("case_"):
                continue
            place = Path(folder, name)
            place.mkdir(parents=True)
            try:
                asyncio.run(case(place)) if inspect.iscoroutinefunction(case) else case(place)
                results[name] = None
            except Exception:  # noqa: BLE001 - it is what is reported
                results[name] = traceback.format_exc()
    os.write(out, json.dumps(results).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
