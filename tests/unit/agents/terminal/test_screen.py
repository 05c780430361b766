"""Text is shown without the characters that a terminal acts on."""

import pytest

from localstore.agents.terminal.screen import one_line, visible

ACTED_ON = (
    "\x00\x07\x0b\x1b\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029"
    "\u202a\u202e\u2066\u2069\u206a\u206f\ufeff\ufff9\ufffb\udc80"
)


@pytest.mark.parametrize("character", ACTED_ON, ids=ascii)
def test_a_character_that_a_terminal_acts_on_is_an_escape(character: str) -> None:
    """The marks U+200E, U+200F and U+061C were passed on, and reordered the text on the terminal."""
    escape = character.encode("unicode_escape").decode()
    assert visible(f"a{character}b") == f"a{escape}b"
    assert one_line(f"a{character}b") == (f"a{escape}b" if not character.isspace() else "a b")


@pytest.mark.parametrize("text", ["a\tb\n", "日本語 😀", "👩\u200d💻", "می\u200cخواهم", "\u00a0\u00ad"])
def test_other_text_is_unchanged(text: str) -> None:
    assert visible(text) == text
