"""The content of a terminal whose last lines are redrawn many times."""

import io

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from localstore.agents.terminal.region import Region
from tests.terminal import drawn

WIDTH, HEIGHT = 30, 6


def console() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT, legacy_windows=False, _environ={}
    )


def shown(on: Console) -> list[str]:
    assert isinstance(on.file, io.StringIO)
    return drawn(on.file.getvalue().replace("\n", "\r\n"), WIDTH, HEIGHT)


def test_an_answer_longer_than_the_terminal_is_shown_once() -> None:
    """However the text is split, the result is the same as if it were drawn at once."""
    answer = "# A title\n\nSome **words** which go over a line.\n\n" + "".join(f"- point {at}\n" for at in range(20))
    for step in (1, 7, 50):
        screen, at_once = console(), console()
        region = Region(screen)
        for end in range(step, len(answer) + step, step):
            region.draw(Markdown(answer[:end]))
        region.leave()
        at_once.print(Markdown(answer))
        assert shown(screen) == shown(at_once)


def test_temporary_lines_are_removed() -> None:
    """A line below the text is removed, and so is a line without text above it."""
    screen = console()
    region = Region(screen)
    region.draw(Text("Thinking"))
    region.draw()
    region.draw(Text("one"), Text("Thinking"))
    region.draw(Text("one"))
    region.leave()
    screen.print("after")
    assert shown(screen) == ["one", "after", ""]


def test_only_changed_lines_are_drawn() -> None:
    screen = console()
    region = Region(screen)
    region.draw(Text("one\ntwo\nthree"))
    assert isinstance(screen.file, io.StringIO)
    before = len(screen.file.getvalue())
    region.draw(Text("one\ntwo\nthree"))
    assert len(screen.file.getvalue()) == before
    region.draw(Text("one\ntwo\nfour"))
    assert "two" not in screen.file.getvalue()[before:]
    assert shown(screen) == ["one", "two", "four"]


def test_a_new_width_redraws_everything() -> None:
    """The lines drawn for the old width are at unknown places."""
    screen = console()
    region = Region(screen)
    region.draw(Text("one two"))
    screen.width = 20
    region.draw(Text("one two three"))
    region.leave()
    assert shown(screen) == ["one two", "one two three", ""]
