"""`localstore redact`: replace secrets in sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.models.figures import counted

from .. import output
from ..arguments import find_sessions
from ..rewrite_result import exit_with_problems
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.format.redaction import Redaction
    from localstore.maintenance.redact import Redacted
    from localstore.models.session_info import SessionInfo


@click.command()
@click.argument("sessions", metavar="SESSION...", nargs=-1, required=True)
@click.option("--pattern", "patterns", metavar="REGEX", multiple=True, help="Replace what matches. May be repeated.")
@click.option("--secrets", is_flag=True, help="Replace keys, tokens, passwords in URLs and e-mail addresses.")
@click.option("--dry-run", is_flag=True, help="Only show what would be replaced.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    sessions: tuple[str, ...],
    patterns: tuple[str, ...],
    secrets: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Replace secrets in sessions by marks such as [redacted email].

    First the places are shown, then you are asked. All text is searched: messages, arguments and results of tools, the
    state, runs of members, names, tags and metadata. Ids stay as they are, and those with a secret are named.

    REGEX is a regular expression of Python. If it has a group named 'secret', only that group is replaced.

    The old documents are kept in a backup, with the secrets in them: delete it with 'localstore backups --prune'.
    Earlier backups, the trash and the rescue folder may have the secrets too. In a database, the old sessions go to the
    trash, which 'localstore rm --empty-trash' empties. Do not redact a session while an agent is writing to it.
    """
    context = click.get_current_context()
    if not patterns and not secrets:
        raise click.UsageError("Give --pattern REGEX, --secrets, or both", context)
    if dry_run and yes:
        raise click.UsageError("--dry-run and --yes cannot be combined", context)
    storage = open_store(store)
    if not dry_run and not yes and not output.can_ask():
        raise click.UsageError("No terminal to ask on. Add --yes to redact, or --dry-run to look first", context)
    infos = find_sessions(storage, sessions, exact=yes)
    ids = [info.session_id for info in infos]
    try:
        found = storage.redact(ids, patterns, secrets=secrets, dry_run=not yes)
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    is_done = yes
    if not as_json:
        _print_places(found)
    if found.documents and not yes:
        _warn_of_writers(infos)
    if found.documents and not yes and not dry_run:
        if click.confirm(f"Replace {_secrets(found)} in {counted(found.documents, 'document')}?", err=True):
            found, is_done = storage.redact(ids, patterns, secrets=secrets), True
        else:
            output.note("Nothing was changed.")
    if as_json:
        output.write_json(found.as_dict())
    elif is_done and found.documents:
        output.write(f"Replaced {_secrets(found)} in {counted(found.documents, 'document')}.\n")
        output.deliver()  # before the notes
    if found.trashed:
        _name_what_is_in_the_trash(found)
    if found.backup is not None:
        _name_what_is_left(found.backup)
    if dry_run and found.documents:
        output.note(f"Would replace {_secrets(found)} in {counted(found.documents, 'document')}.")
    if not found.sessions and not as_json:
        output.note("No secrets were found." if secrets else "Nothing matches.")
    exit_with_problems(found.problems)


def _secrets(found: Redacted) -> str:
    return counted(found.count, "match", "matches")


def _print_places(found: Redacted) -> None:
    """Print where something was found, and name the ids that stay as they are."""
    ids = [(session.session_id, one) for session in found.sessions for one in session.redactions if one.is_id]
    if output.to_terminal():
        _show_places(found)
    else:
        output.write_rows(
            (session.session_id, one.place, one.rule, f"{one.count:,}", one.excerpt)
            for session in found.sessions
            for one in session.redactions
            if not one.is_id
        )
    for session_id, one in ids:
        output.note(f"{one.place} of {session_id} matches {one.rule}. Ids are not changed.")


def _show_places(found: Redacted) -> None:
    """Print each place on a line, and the text there on the next one."""
    from rich.text import Text

    screen = output.console()
    for session in found.sessions:
        places: dict[str, list[Redaction]] = {}
        for one in session.redactions:
            if not one.is_id:
                places.setdefault(one.place, []).append(one)
        if places and len(found.sessions) > 1:
            screen.print(Text(output.one_line(session.session_id), style="bold"))
        for place, some in places.items():
            kinds = ", ".join(one.rule if one.count == 1 else f"{one.rule} ×{one.count:,}" for one in some)
            screen.print(Text.assemble(output.one_line(place), "  ", (kinds, "cyan")))
            text = Text(f"  {output.one_line(some[0].excerpt)}", style="dim")
            text.highlight_regex(r"\[redacted[^]]*\]", "not dim red")
            screen.print(text, no_wrap=True, overflow="ellipsis")


def _warn_of_writers(infos: list[SessionInfo]) -> None:
    """Print which sessions an agent may be writing to."""
    for info in infos:
        if info.status == "unfinished":
            advice = "If an agent is writing it now, wait: it could not finish a run that was redacted"
            output.note(f"The last run of {info.session_id} is unfinished. {advice}.")


def _name_what_is_in_the_trash(found: Redacted) -> None:
    """Print where the secrets still are in a database."""
    are, them = ("is", "it") if len(found.trashed) == 1 else ("are", "them")
    old = counted(len(found.trashed), "old session")
    output.note(f"{old}, with the secrets, {are} in the trash: 'localstore restore' lists {them}.")
    output.note("Delete all that is in the trash with: localstore rm --empty-trash")
    output.note("To bring a session back, move the redacted one to the trash first.")
    output.note("Runs that were taken out of sessions may have the secrets too.")


def _name_what_is_left(backup: str) -> None:
    """Print where the secrets still are."""
    output.note(f"The old documents, with the secrets, are in backup {backup}.")
    output.note(f"Delete it with: localstore backups --prune {backup}")
    output.note(f"Or bring the old documents back with: localstore restore --kind backup {backup}")
    output.note("Earlier backups, the trash and the rescue folder may have the secrets too.")
