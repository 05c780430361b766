"""Text without control characters, and values as JSON."""

import json
import re
from typing import Any

from localstore.format.values import to_json_value

# Control characters, except newline and tab, and lone surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# In addition, characters that end a line for some readers of JSON lines, or reorder text on a terminal. In JSON, all of
# them occur only inside strings.
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def visible(text: str) -> str:
    """Return the text with visible symbols in place of control characters, and with newlines as line ends.

    >>> visible("a\\x1b[2Jb\\r\\n")
    'a␛[2Jb\\n'
    """
    return _CONTROL.sub(_picture, text.replace("\r\n", "\n").replace("\r", "\n"))


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, on one line or indented. Characters with an effect on a reader are escaped."""
    text = json.dumps(to_json_value(value), ensure_ascii=False, indent=indent)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def short_json(value: Any) -> str:
    """Return a value as JSON, on one line if that is short."""
    text = json_text(value)
    return text if len(text) <= 80 else json_text(value, indent=2)
