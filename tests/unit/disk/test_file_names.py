"""File names: readable for ordinary ids, safe for all, and different for any two ids."""

import re
import unicodedata
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.disk.file_names import MAX_NAME, fit, stem, stripe

ORDINARY = ["a", "0", "fixed_id_for_demo", "travel-2025", "a.b", "a..b", "v1.2.3", "x_", "x-", "a" * 95, "console"]
HOSTILE = [
    *("../x", "..", ".", "/", "\\", "a/b", "a\\b", "/etc/passwd", "C:\\x", "~", "~root", "a~b", "-", "_", "-rf"),
    *("CON", "con", "con.txt", "nul", "NUL.json", "aux.a.b", "com1", "lpt9", "COM\u00b9", "prn"),
    *("a.", "a ", " a", "a..", ".hidden", "...", "a:b", "a*b?", 'a"b', "a|b", "<a>", "\0", "a\0b", "a\nb", "\x7f"),
    *(
        "A",
        "a" * 96,
        "x" * 10_000,
        "é",
        "e\u0301",
        "ſ",
        "日本語",
        "😀",
        "\u202ea",
        "\ufeffa",
        "İ",
        "ß",
        "ﬁ",
        "Å",
        "\u212b",
    ),
]
SAFE = re.compile(r"[a-z0-9][a-z0-9._~-]*[a-z0-9_-]\Z|[a-z0-9]\Z")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)")


def check_name(session_id: str) -> None:
    name = stem(session_id)
    assert SAFE.match(name), name
    assert not RESERVED.match(name), name
    assert len(name.encode()) + len(".json") <= MAX_NAME == 100


@pytest.mark.parametrize("session_id", ORDINARY)
def test_an_ordinary_id_is_its_own_file_name(session_id: str) -> None:
    assert stem(session_id) == session_id
    check_name(session_id)


@pytest.mark.parametrize("session_id", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_any_other_id_becomes_a_slug_and_a_hash(session_id: str) -> None:
    slug, _, digest = stem(session_id).rpartition("~")
    assert digest == blake2b(session_id.encode(), digest_size=6).hexdigest()
    assert slug
    check_name(session_id)


def test_the_slug_tells_people_which_one_it_is() -> None:
    assert stem("Trip to Vienna!").startswith("trip-to-vienna~")
    assert stem("Ärger & Öl").startswith("arger-ol~")
    assert stem("😀").startswith("session~")
    assert stem("../../etc/passwd").startswith("etc-passwd~")


def test_ids_that_a_file_system_could_confuse_have_different_names() -> None:
    ids = {*ORDINARY, *HOSTILE, "Abc", "abc", "ABC", "abc.", "abc ", "x" * 9_999, "x" * 200 + "y", "x" * 200 + "z"}
    folded = {unicodedata.normalize("NFC", stem(session_id)).casefold() for session_id in ids}
    assert len(folded) == len(ids)


def test_no_id_is_the_name_of_another() -> None:
    for session_id in HOSTILE:
        assert stem(stem(session_id)) != stem(session_id)


@given(st.text(min_size=1))
def test_any_text_has_a_safe_name(session_id: str) -> None:
    check_name(session_id)


def test_a_session_has_the_same_lock_in_every_process_and_release() -> None:
    # These numbers are part of the format: programs that disagree on them do not lock each other out.
    assert [stripe(session_id, 64) for session_id in ("s1", "fixed_id_for_demo", "é", "")] == [54, 60, 21, 18]
    assert len({stripe(str(number), 64) for number in range(2000)}) == 64


def test_a_name_that_is_too_long_is_cut_and_stays_unique() -> None:
    """It keeps its ending, and no character is cut in half."""
    assert fit("a.json", 6) == "a.json"
    for name in ("a" * 250 + ".json", "ä" * 125 + ".yaml", "😀" * 62 + ".json", "x" * 255, "." * 255):
        fitted = fit(name, 237)
        assert len(fitted.encode()) <= 237
        assert fitted.endswith((".json", ".yaml")) or "." not in name[:-1].strip(".")
        assert fitted != fit(f"b{name[1:]}", 237)
        assert name.startswith(fitted.partition("~")[0])
