"""The option that turns colours on or off. Every command has it, and so has the group."""

from __future__ import annotations

import click

from . import output


def _use(_: click.Context, __: click.Parameter, choice: output.Color | None) -> None:
    if choice is not None:
        output.use_color(choice)


def add_color_option(command: click.Command) -> None:
    """Add the option `--color` to a command that does not have it."""
    if all(parameter.name != "color" for parameter in command.params):
        option = click.Option(
            ["--color"],
            type=click.Choice(output.COLORS),
            help="Print in colour: always, as on a terminal; never; or auto, the default: on a terminal.",
            expose_value=False,
            callback=_use,
            is_eager=True,
        )
        command.params.append(option)
