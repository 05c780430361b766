"""`localstore help`: show the help of a command."""

from __future__ import annotations

import click

from .. import output


def _names(context: click.Context, _: click.Parameter, beginning: str) -> list[str]:
    """Return the commands that complete the beginning of a name."""
    group = context.find_root().command
    names = group.list_commands(context) if isinstance(group, click.Group) else []
    return [name for name in names if name.startswith(beginning)]


@click.command()
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=_names)
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """Show the help of a command. Without COMMAND, list the commands."""
    root = context.find_root()
    group = root.command
    if name is not None and isinstance(group, click.Group):
        _, found, _ = group.resolve_command(root, [name])
        if found is not None:
            with click.Context(found, root, name) as explained:
                output.write(explained.get_help() + "\n")
            return
    output.write(root.get_help() + "\n")
