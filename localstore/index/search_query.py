"""What a search looks for: words, phrases and beginnings of words, or a literal text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from localstore.format.entry_texts import FoundText
from localstore.format.words import composed, words

_PARTS = re.compile(r'(-?)(?:"([^"]*)"(\*?)|([^\s"]+))')
Places = list[tuple[int, int]]


class Matcher(Protocol):
    """Decides whether an entry is found, and where in its texts."""

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether an entry with these texts is found."""

    def count(self, text: str) -> int:
        """Return how many of the terms a composed text has."""

    def places(self, text: str) -> Places:
        """Return the places of the words of the terms in a composed text, in order."""


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow each other. With `is_prefix`, the last one is the beginning of a word."""

    words: tuple[str, ...]
    is_prefix: bool = False

    def expression(self) -> str:
        """Return the term in the syntax of SQLite. Words have only letters and digits, so nothing needs an escape."""
        return f'"{" ".join(self.words)}"{" *" if self.is_prefix else ""}'

    def found_in(self, forms: Sequence[str]) -> list[int]:
        """Return the positions at which the term begins in the words of a text, in the form in which they compare."""
        first, last, count = self.words[0], self.words[-1], len(self.words)
        if self.is_prefix and count == 1:
            return [at for at, form in enumerate(forms) if form.startswith(first)]
        ends = forms[count - 1 :]
        fixed = self.words[:-1] if self.is_prefix else self.words
        return [
            at
            for at in _positions(first, forms)
            if at < len(ends)
            and (count == 1 or tuple(forms[at : at + len(fixed)]) == fixed)
            and (not self.is_prefix or ends[at].startswith(last))
        ]


def _positions(form: str, forms: Sequence[str]) -> Iterator[int]:
    """Yield the positions of a word in a sequence of words."""
    at = -1
    try:
        while True:
            at = forms.index(form, at + 1)
            yield at
    except ValueError:
        return


@dataclass(frozen=True, slots=True)
class WordQuery:
    """All of `terms` must occur in one entry, and none of `excluded`."""

    terms: tuple[Term, ...]
    excluded: tuple[Term, ...] = ()

    @property
    def has_prefix(self) -> bool:
        """Whether a term is the beginning of a word."""
        return any(term.is_prefix for term in (*self.terms, *self.excluded))

    def expression(self) -> str:
        """Return the query in the syntax of SQLite's full-text search."""
        wanted = " AND ".join([term.expression() for term in self.terms])
        unwanted = " OR ".join([term.expression() for term in self.excluded])
        return f"({wanted}) NOT ({unwanted})" if unwanted else wanted

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether the texts have all terms, each in one of the texts, and none of the excluded ones."""
        missing = set(self.terms)
        for text in texts:
            forms = words(composed(text.text)).forms
            missing = {term for term in missing if not term.found_in(forms)}
            if any(term.found_in(forms) for term in self.excluded):
                return False
        return not missing

    def count(self, text: str) -> int:
        """Return how many of the terms a composed text has."""
        forms = words(text).forms
        return sum(bool(term.found_in(forms)) for term in self.terms)

    def places(self, text: str) -> Places:
        """Return the places of the words of the terms in a composed text, in order."""
        found = words(text)
        positions = {
            at + more for term in self.terms for at in term.found_in(found.forms) for more in range(len(term.words))
        }
        return found.places(sorted(positions))


@dataclass(frozen=True, slots=True)
class LiteralQuery:
    """A text that must occur exactly as it is, with its case and its punctuation, in one text of an entry."""

    text: str

    def matches(self, texts: Iterable[FoundText]) -> bool:
        """Return whether one of the texts has the literal text."""
        return any(self.text in composed(text.text) for text in texts)

    def count(self, text: str) -> int:
        """Return 1 if a composed text has the literal text, otherwise 0."""
        return int(self.text in text)

    def places(self, text: str) -> Places:
        """Return the places of the literal text in a composed text, in order."""
        return [match.span() for match in re.finditer(re.escape(self.text), text)]


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
        found = tuple(words(content).forms)
        if not found:
            continue
        is_prefix = bool(phrase_star) if phrase is not None else content.endswith("*")
        (unwanted if minus else wanted)[Term(found, is_prefix)] = None
    if not wanted:
        wanted, unwanted = unwanted, {}
    return WordQuery(tuple(wanted), tuple(unwanted)) if wanted else None
