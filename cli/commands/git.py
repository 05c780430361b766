"""`localstore git`: set up git for a store, and show documents in its diffs."""

from __future__ import annotations

import click

from .. import output
from ..color_option import add_color_option
from ..store_option import find_store, store_option


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Set up git to merge and compare sessions by their runs."""
    if context.invoked_subcommand is None:
        output.write(context.get_help() + "\n")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def init(as_json: bool, store: str | None) -> None:
    """Set up the git repository that holds the store. Do it once in each clone.

    Afterwards, two branches with new runs merge without a conflict, and 'git diff' shows runs. The command adds lines
    to .gitattributes in the folder of the store, to be committed, and registers 'localstore merge-driver' and
    'localstore git textconv' in the configuration of this clone. Running it again changes nothing.
    """
    set_up_repository(find_store(store), as_json=as_json)


def set_up_repository(root: str, *, as_json: bool) -> None:
    """Set up the git repository that holds the store in the folder `root`, and print what was done."""
    from localstore.maintenance.git import set_up_git

    done = set_up_git(root)
    if as_json:
        output.write_json(done.as_dict())
        return
    said = []
    if done.wrote_attributes:
        said.append(f"Added the documents to {done.attributes}. Commit this file.")
    if done.wrote_config:
        said.append(f"Registered the merge driver and the diff in the repository {done.repository}")
    for line in said or [f"The repository {done.repository} is set up already."]:
        output.write(f"{output.one_line(line)}\n")


@command.command()
@click.argument("file", type=click.Path(path_type=str))
def textconv(file: str) -> None:
    """Print a document as text for a diff.

    Git calls this with FILE. Each line of a message is one line. A file that cannot be read as a document is printed as
    it is.
    """
    from ..document_text import document_text

    with open(file, "rb") as opened:
        output.write_bytes([document_text(opened.read(), file)])


for subcommand in command.commands.values():
    add_color_option(subcommand)
