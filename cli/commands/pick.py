"""`localstore pick`: choose a session from a list, and print its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..filter_options import archived_option, filter_options
from ..picker import pick_session
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.filter import Filter


@click.command()
@filter_options
@archived_option
@store_option
def command(where: Filter, archived: bool, store: str | None) -> None:
    """Choose a session from a list on the terminal, and print its id.

    Type words of its title, id, user, entity or tags to find it. Enter chooses it; Escape leaves, and the exit code is
    130. If the program fzf is installed, it shows the list.

    For example: localstore show "$(localstore pick)"
    """
    info = pick_session(open_store(store), where, archived=archived)
    output.write_rows([[info.session_id]])
