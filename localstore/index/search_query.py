"""What a search looks for: words, phrases and beginnings of words, or a literal text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from localstore.format.entry_texts import FoundText
from localstore.format.words import Word, composed, words

_PARTS = re.compile(r'(-?)(?:"([^"]*)"(\*?)|([^\s"]+))')
Places = list[tuple[int, int]]


class Matcher(Protocol):
    """Decides whether an entry is found, and where in its texts."""

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether an entry with these texts is found."""

    def places(self, text: str) -> tuple[int, Places]:
        """Return how many of the terms a composed text has, and the places of their words, in order."""


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow each other. With `is_prefix`, the last one is the beginning of a word."""

    words: tuple[str, ...]
    is_prefix: bool = False

    def expression(self) -> str:
        """Return the term in the syntax of SQLite. Words have only letters and digits, so nothing needs an escape."""
        return f'"{" ".join(self.words)}"{" *" if self.is_prefix else ""}'

    def found_in(self, text: Sequence[Word]) -> list[int]:
        """Return the positions in `text`, the words of a text, at which the term begins."""
        first, last = self.words[0], len(self.words) - 1
        if last == 0 and self.is_prefix:
            return [number for number, word in enumerate(text) if word.text.startswith(first)]
        return [
            number
            for number, word in enumerate(text[: len(text) - last])
            if word.text == first
            and all(text[number + more].text == self.words[more] for more in range(1, last))
            and (last == 0 or self._is_last(text[number + last].text))
        ]

    def _is_last(self, word: str) -> bool:
        return word.startswith(self.words[-1]) if self.is_prefix else word == self.words[-1]


@dataclass(frozen=True, slots=True)
class WordQuery:
    """All of `terms` must occur in one entry, and none of `excluded`."""

    terms: tuple[Term, ...]
    excluded: tuple[Term, ...] = ()

    def expression(self) -> str:
        """Return the query in the syntax of SQLite's full-text search."""
        wanted = " AND ".join([term.expression() for term in self.terms])
        unwanted = " OR ".join([term.expression() for term in self.excluded])
        return f"({wanted}) NOT ({unwanted})" if unwanted else wanted

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether the texts have all terms, each in one of the texts, and none of the excluded ones."""
        missing = set(self.terms)
        for text in texts:
            text_words = words(composed(text.text))
            missing = {term for term in missing if not term.found_in(text_words)}
            if any(term.found_in(text_words) for term in self.excluded):
                return False
        return not missing

    def places(self, text: str) -> tuple[int, Places]:
        """Return how many of the terms a composed text has, and the places of their words, in order."""
        text_words = words(text)
        count = 0
        positions: set[int] = set()
        for term in self.terms:
            found = term.found_in(text_words)
            count += bool(found)
            positions.update(at + more for at in found for more in range(len(term.words)))
        return count, [(text_words[at].start, text_words[at].end) for at in sorted(positions)]


@dataclass(frozen=True, slots=True)
class LiteralQuery:
    """A text that must occur exactly as it is, with its case and its punctuation, in one text of an entry."""

    text: str

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether one of the texts has the literal text."""
        return any(self.text in composed(text.text) for text in texts)

    def places(self, text: str) -> tuple[int, Places]:
        """Return whether a composed text has the literal text, as 1 or 0, and its places."""
        found = [match.span() for match in re.finditer(re.escape(self.text), text)]
        return min(1, len(found)), found


def parse_query(text: str) -> WordQuery | None:
    r"""Return the query that a text describes, or None if it has no words.

    All words must occur. `"a phrase"` means these words in this order, `wor*` a word with this beginning, and `-word`
    or `-"a phrase"` that an entry must not have it. Everything else is text, and a word with punctuation
    inside is a phrase.

    >>> parse_query('train* -bus "to Wien"').expression()
    '("train" * AND "to wien") NOT ("bus")'
    """
    wanted: dict[Term, None] = {}
    unwanted: dict[Term, None] = {}
    for match in _PARTS.finditer(composed(text)):
        minus, phrase, phrase_star, plain = match.groups()
        content = plain if phrase is None else phrase
        found = tuple(word.text for word in words(content))
        if not found:
            continue
        is_prefix = bool(phrase_star) if phrase is not None else content.endswith("*")
        (unwanted if minus else wanted)[Term(found, is_prefix)] = None
    if not wanted:
        wanted, unwanted = unwanted, {}
    return WordQuery(tuple(wanted), tuple(unwanted)) if wanted else None
