"""Make text and JSON safe to show: without control characters."""

import json
import re
from typing import Any

from localstore.format.control_characters import CONTROL
from localstore.format.values import to_json_value

# Control characters, except newline and tab, and lone surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# In JSON, these characters occur only inside strings.
_ESCAPED = re.compile(f"[{CONTROL}]")


def visible(text: str) -> str:
    """Return the text with a visible symbol in place of each control character, and with `\\n` at the end of each line.

    >>> visible("a\\x1b[2Jb\\r\\n")
    'a␛[2Jb\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_picture, text.replace("\r\n", "\n").replace("\r", "\n"))


def _picture(match: re.Match[str]) -> str:
    """Return the symbol that stands for a control character or lone surrogate."""
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, on one line or, with `indent`, indented by so many spaces per level.

    Control characters, and characters that end a line or reorder text, are escaped. Raises UnstorableValue if the value
    cannot be expressed as JSON.
    """
    text = json.dumps(to_json_value(value), ensure_ascii=False, indent=indent)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def short_json(value: Any) -> str:
    """Return a value as JSON: on one line of up to 80 characters, otherwise indented. Raises as `json_text` does."""
    text = json_text(value)
    return text if len(text) <= 80 else json_text(value, indent=2)
