"""What a search looks for, as SQLite and Python understand it."""

import pytest

from localstore.format.entry_texts import FoundText
from localstore.index.search_query import LiteralQuery, parse_query


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Vienna", '"vienna"'),
        ("train vienna", '"train" AND "vienna"'),
        ('"the train" -bus', '("the train") NOT ("bus")'),
        ('tra* -"by bus" -car', '("tra" *) NOT ("by bus" OR "car")'),
        ('"to wie"*', '"to wie" *'),
        ("day-trip don't", '"day trip" AND "don t"'),
        ("東京", '"東 京"'),
        ("a OR NOT (b NEAR c)", '"a" AND "or" AND "not" AND "b" AND "near" AND "c"'),
        ('unbalanced "quote', '"unbalanced" AND "quote"'),
        ("-only", '"only"'),
        ("train train TRAIN", '"train"'),
        ('col:x ^y {z} a"b', '"col x" AND "y" AND "z" AND "a" AND "b"'),
    ],
)
def test_a_text_becomes_a_query(text: str, expression: str) -> None:
    query = parse_query(text)
    assert query is not None
    assert query.expression() == expression


@pytest.mark.parametrize("text", ["", " ", "-", '"', '""*', "!?", "*"])
def test_a_text_without_words_is_no_query(text: str) -> None:
    assert parse_query(text) is None


def texts(*content: str) -> list[FoundText]:
    return [FoundText(text, "content") for text in content]


@pytest.mark.parametrize(
    ("text", "content", "matches"),
    [
        ("train wien", ("the train", "to Wien"), True),
        ('"train to"', ("the train", "to Wien"), False),
        ("train -bus", ("the train", "the bus"), False),
        ("tra*", ("extra",), False),
        ("tra*", ("the Trains",), True),
        ('"a b c"', ("a b a b c",), True),
        ('"a b"*', ("a x a bc",), True),
        ('"a b c d e"', ("a b",), False),
    ],
)
def test_all_words_must_be_in_one_entry(text: str, content: tuple[str, ...], matches: bool) -> None:
    query = parse_query(text)
    assert query is not None
    assert query.matches(texts(*content)) is matches


def test_places_are_those_of_all_words() -> None:
    query = parse_query('"to wien" tra*')
    assert query is not None
    assert query.count("A train to Wien, to Linz") == 2
    assert query.places("A train to Wien, to Linz") == [(2, 7), (8, 10), (11, 15)]
    assert LiteralQuery("to ").count("A train to Wien, to Linz") == 1
    assert LiteralQuery("to ").places("A train to Wien, to Linz") == [(8, 11), (17, 20)]
    assert LiteralQuery("TO").count("to") == 0
    assert LiteralQuery("TO").places("to") == []
