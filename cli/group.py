"""The command `localstore`: finds and runs its subcommands."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn

import click

import localstore

from . import errors, output
from .color_option import add_color_option
from .store_option import store_option

COMPLETE_VARIABLE = "_LOCALSTORE_COMPLETE"
"""The environment variable by which the script of a shell asks for completions."""
_WHOLE = 1000
"""Longer than the first sentence of any help."""

SECTIONS = {
    "Look": ("ls", "search", "stats", "show", "diff", "pick", "path", "export", "serve", "mcp"),
    "Ask a model": ("chat", "ask", "replay"),
    "Change sessions": ("edit", "state", "rename", "tag", "rate", "archive", "unarchive", "redact"),
    "Bring in, copy, remove and bring back": ("import", "copy", "rm", "prune", "restore"),
    "Find and repair damage": ("check", "merge", "rescue"),
    "Use git": ("git", "merge-driver"),
    "Change the format": ("upgrade", "convert", "backups"),
    "Get help": ("help", "completion"),
}
"""The sections of the help and their commands. `localstore NAME` is `command` in the module `commands/NAME.py`, or
`commands/NAME_.py` if Python reserves the name. A `-` in NAME is `_` in the name of the module."""
COMMANDS = tuple(name for names in SECTIONS.values() for name in names)


class Commands(click.Group):
    """A group that imports only the module of the command that is run, which keeps the start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = import_module(f"{__package__}.commands.{module}").command
        command.short_help = command.get_short_help_str(_WHOLE)  # a whole sentence, not as much of it as fits
        add_color_option(command)
        if ctx.resilient_parsing:
            from .completion import add_completions

            add_completions(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of the help, with the sentences of all of them below each other."""
        widest = max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            commands = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), found.short_help or "") for name, found in commands if found])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. Raises UsageError if there is none, and names a similar one."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            similar = [name for name in COMMANDS if args[0] and name.startswith(args[0])]
            similar = similar or difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{similar[0]}'?" if similar else ""))
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run one command line and exit with its code. It replaces click's own `main`, which uses other exit codes."""
        raise SystemExit(errors.run(lambda: self._run(args)))

    def _run(self, args: Sequence[str] | None) -> None:
        output.prepare()
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            from .completion import answer

            output.write(answer(self, instruction))
            return
        with self.make_context("localstore", output.arguments(args)) as context:
            self.invoke(context)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@store_option
@click.version_option(localstore.__version__, prog_name="localstore", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, store: str | None) -> None:  # noqa: ARG001 (commands look it up in the context)
    """List, show, continue, edit and check the sessions of AI agents in a localstore folder."""
    if context.invoked_subcommand is None:
        output.write(context.get_help() + "\n")


add_color_option(cli)
