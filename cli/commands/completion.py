"""`localstore completion`: print the script that makes a shell complete the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output

if TYPE_CHECKING:
    from ..completion import Shell


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
@click.pass_context
def command(context: click.Context, shell: Shell) -> None:
    """Print the script that completes localstore in a shell.

    Commands, options, sessions, users, tags and models are completed. Add one line to the configuration of the shell:

    \b
    bash  in ~/.bashrc                    eval "$(localstore completion bash)"
    zsh   in ~/.zshrc, behind compinit    eval "$(localstore completion zsh)"
    fish  in ~/.config/fish/config.fish   localstore completion fish | source
    """
    from ..completion import script

    output.write(script(context.find_root().command, shell))
