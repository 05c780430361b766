"""Short forms of texts."""

import pytest

from localstore.models.excerpt import one_line, whole_end

FAMILY = "👩\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("character", "parts"),
    [("e\u0301", 2), (FAMILY, 5), ("👍🏽", 2), ("🇦🇹", 2), ("❤\ufe0f", 2), ("日", 1), ("नि", 2)],
)
def test_a_character_of_several_code_points_is_never_cut_in_half(character: str, parts: int) -> None:
    assert len(character) == parts
    text = character * 5
    assert [whole_end(text, end) for end in range(len(text) + 1)] == [end - end % parts for end in range(len(text) + 1)]
    for longest in range(2, len(text)):
        assert one_line(text, longest).removesuffix("…") in [character * number for number in range(5)]


def test_a_text_that_is_short_enough_stays() -> None:
    assert one_line(f"a  {FAMILY}\n b", 10) == f"a {FAMILY} b"
    assert one_line("a" * 80) == "a" * 80
    assert one_line("a" * 81) == "a" * 79 + "…"
