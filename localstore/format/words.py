"""Splits text into the words that a search compares.

A word is a run of letters and digits. Case, accents and typographic variants make no difference. Each Chinese, Japanese
or Korean character is a word by itself, because these languages do not put a space between all words.
"""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from unicodedata import normalize

_SINGLE = (
    "\u3005-\u3007\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Ranges of characters, each of which is a word by itself."""
_ACCENTS = "\u0300-\u036f"
_LETTER = rf"[^\W_{_SINGLE}]"
_WORD = re.compile(rf"[{_SINGLE}](?<=\w)|{_LETTER}(?:{_LETTER}+|[{_ACCENTS}]+)*")
_ASCII_WORD = re.compile("[A-Za-z0-9]+")
"""A word of a text that is ASCII."""
_WORDS_ALONE = bytes(byte if bytes([byte]).isalnum() else ord(" ") for byte in bytes(range(256)).lower())
"""Turns ASCII text into its words in lower case, with spaces between them: faster than an expression finds them."""
_NOT_ASCII = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]*+[^\0-\x7f][^\0-/:-@\[-`{-\x7f]*")
"""A run of ASCII letters, digits and other characters, with at least one of the latter. No word begins before it."""
_LONGEST_REMEMBERED = 40
"""How many characters a run may have whose words are remembered: words in most scripts occur again."""
_ACCENT = re.compile(f"[{_ACCENTS}]+")


class Words:
    """The words of a composed text (see `composed`), in order.

    >>> words = Words("Ein Café in 東京!")
    >>> words.forms
    ['ein', 'cafe', 'in', '東', '京']
    >>> words.places([1, 3])
    [(4, 8), (12, 13)]
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.forms: list[str] = (
            text.encode().translate(_WORDS_ALONE).decode().split()
            if text.isascii()
            else list(filter(None, map(_compared, _WORD.findall(text))))
        )
        """Each word in the form in which words are compared."""

    def places(self, numbers: Iterable[int]) -> list[tuple[int, int]]:
        """Return the start and the end in the text of the words with these numbers, counted from 0."""
        return [self._places[number] for number in numbers]

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        if self._text.isascii():
            return [match.span() for match in _ASCII_WORD.finditer(self._text)]
        return [match.span() for match in _WORD.finditer(self._text) if _compared(match.group())]


def composed(text: str) -> str:
    """Return the text with letters and their accents composed to single characters (NFC), as `words` needs it."""
    return text if text.isascii() else normalize("NFC", text)


@lru_cache(64)
def words(text: str) -> Words:
    """Return the words of a composed text. Those of the last texts are remembered."""
    return Words(text)


def spaced(text: str) -> str:
    """Return text with the same words in the same order, for a program that splits text at all ASCII punctuation.

    >>> spaced("Ein Café in 東京!")
    'Ein  cafe  in  東 京 !'
    """
    if text.isascii():
        return text
    return _NOT_ASCII.sub(_spaced_run, composed(text))


def _compared(word: str) -> str:
    return word.lower() if word.isascii() else _folded(word)


def _spaced_run(run: re.Match[str]) -> str:
    text = run.group()
    return _spaced_words(text) if len(text) <= _LONGEST_REMEMBERED else _spaced_words.__wrapped__(text)


@lru_cache(1 << 16)
def _spaced_words(text: str) -> str:
    return f" {' '.join(filter(None, map(_compared, _WORD.findall(text))))} "


@lru_cache(1 << 16)
def _folded(word: str) -> str:
    """Return a word without case, accents and typographic variants. It has letters and digits alone, or is empty."""
    plain = _ACCENT.sub("", normalize("NFKD", word.casefold())).casefold()
    return "".join([char for char in normalize("NFC", plain) if char.isalnum()])
