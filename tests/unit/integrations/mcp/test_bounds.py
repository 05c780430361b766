"""What a tool returns is bounded, and says what was cut off."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore.integrations.mcp.bounds import cut, newest_that_fit, size_of
from tests.environments import ROOT

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=50), inner, max_size=20),
    max_leaves=30,
)


def test_a_value_that_fits_is_unchanged() -> None:
    value = {"messages": [{"role": "user", "content": "hi"}], "n": 1.5, "ok": None}
    assert cut(value, 100) == value


def test_long_texts_lists_and_mappings_say_what_was_cut_off() -> None:
    assert cut("x" * 5000, 1000) == "x" * 1000 + "… [4,000 more characters]"
    assert cut(["x" * 10] * 1000, 100, 50) == ["x" * 10] * 5 + ["… [995 more items]"]
    keys = {f"key{number}": "x" * 10 for number in range(100)}
    assert list(cut(keys, 100, 50).items())[-1] == ("…", "[96 more keys]")


def test_no_character_is_cut_in_half() -> None:
    assert cut("ae\u0301i", 2) == "a… [3 more characters]"


@settings(max_examples=50)
@given(values)
def test_the_result_is_bounded_whatever_the_value(value: Any) -> None:
    shortened = cut(value, 100, 500)
    assert size_of(shortened) < 500 + 20 * 100 + 2000
    json.dumps(shortened)


def test_the_newest_values_that_fit_are_kept_in_their_order() -> None:
    assert newest_that_fit(["a" * 40, "b" * 40, "c" * 40], 100, 90) == ["b" * 40, "c" * 40]
    assert newest_that_fit([], 100, 90) == []


def test_one_value_that_is_too_large_alone_is_cut_further() -> None:
    (only,) = newest_that_fit([["x" * 50] * 1000], 100, 300)
    assert only[-1] == "… [994 more items]"


def test_the_configurations_of_the_page_start_the_command() -> None:
    """Each block of the page that registers the server is JSON, or a command line, that names `localstore mcp`."""
    page = (ROOT / "localstore/integrations/README.md").read_text(encoding="utf-8")
    section = page.partition("\n## AI clients (MCP)\n")[2].partition("\n## ")[0]
    blocks = [block for block in section.split("```")[1::2] if block.startswith("\n{")]
    assert len(blocks) == 3
    for block in blocks:
        (servers,) = json.loads(block).values()
        server = servers["localstore"]
        assert server.get("args", ["mcp"])[0] == "mcp"
        assert server.get("url", "http://127.0.0.1:").startswith("http://127.0.0.1:")
        assert ("command" in server) != ("url" in server)


@pytest.mark.parametrize("most", [0, 1, 100])
def test_a_short_text_is_shown_even_if_nothing_is_left(most: int) -> None:
    assert newest_that_fit(["short"], 100, most) == ["short"]
