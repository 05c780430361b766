"""How much the tests do that could go on for ever: bounded as CI runs them, or the long form.

`LOCALSTORE_TESTS=long .venv/bin/python -m pytest` is the long form of everything.
"""

import os

LONG = os.environ.get("LOCALSTORE_TESTS") == "long"


def rounds(bounded: int, long: int) -> int:
    """How often to go round: `bounded` times as CI does, `long` times when asked for."""
    return long if LONG else bounded
