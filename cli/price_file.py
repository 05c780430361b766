"""Reads a file with the prices of models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from localstore.models.stats import Prices


def read_prices(file: str) -> Prices:
    """Return the prices in a JSON file, if its name ends in .json, or a YAML file. Raises UsageError, OSError."""
    from localstore.format.document import LAYOUTS
    from localstore.format.parse_error import ParseError
    from localstore.models.stats import check_prices

    with open(file, "rb") as stream:
        raw = stream.read()
    layout = LAYOUTS[".json" if os.path.splitext(file)[1].lower() == ".json" else ".yaml"]
    try:
        layout.parse(raw)  # it names the line of more mistakes
        return check_prices(layout.parse_strict(raw))
    except ParseError as error:
        place = "" if error.line is None else f", line {error.line}"
        problem = f"{file}{place}: {error.problem}"
    except (TypeError, ValueError) as error:
        problem = f"{file}: {error}"
    raise click.UsageError(problem, click.get_current_context())
