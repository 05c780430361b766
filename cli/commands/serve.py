"""`localstore serve`: show the sessions in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..price_file import read_prices
from ..store_option import open_named, open_store, store_option

if TYPE_CHECKING:
    from ..browser_server import Address

PORT = 8470
"""The port without `--port`, if it is free."""


def _not_empty(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("it is empty")
    return value


@click.command()
@click.argument("where", metavar="[STORE|URL]", required=False, callback=_not_empty)
@click.option("--port", type=click.IntRange(0, 65535), help=f"Listen on this port; 0 takes a free one. [{PORT}]")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser of this desktop.")
@click.option("--read-only", is_flag=True, help="Show the sessions, and offer no changes.")
@click.option("--prices", "price_file", metavar="FILE", help="Show the cost, by the prices in FILE, as 'stats' does.")
@click.option("--host", metavar="ADDRESS", help="Listen on this address of the machine, and not only for itself.")
@click.option("--allow-host", metavar="NAME", multiple=True, help="With --host: a name by which browsers may ask.")
@store_option
def command(where: str | None, store: str | None, **options: Any) -> None:
    """Show the sessions in a browser: list, search, read, rate and edit them, and see what they cost.

    STORE is the folder of the store, or URL the database. The printed address has a token: whoever has the address can
    read every session and, without --read-only, change it, and nobody else can. Pages of running sessions grow by
    themselves. Ctrl-C stops the server.

    The server listens for this machine alone. With --host, others on the network can reach it too, over plain HTTP, so
    put it behind a proxy with TLS. Every name by which browsers may ask then has to be given with --allow-host.
    """
    context = click.get_current_context()
    if where is not None and store is not None:
        raise click.UsageError("STORE and --store cannot be combined", context)
    host, allowed = options["host"], options["allow_host"]
    if bool(host) != bool(allowed):
        raise click.UsageError("--host needs --allow-host NAME, and the other way round", context)
    try:
        from ..browser_server import listen, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise click.UsageError(
            "The pages need the extra 'serve'. Run: pip install 'localstore-sessions[serve]'", context
        ) from None
    prices = None if options["price_file"] is None else read_prices(options["price_file"])
    storage = open_store(store) if where is None else open_named(where, "STORE")
    listening = listen(host or "127.0.0.1", options["port"], PORT)

    def ready(address: Address) -> None:
        output.write(f"{address.url}\n")
        output.deliver()
        output.note("Ctrl-C stops the server.")
        if options["opens"]:
            import webbrowser

            webbrowser.open(address.url)

    serve(storage, listening, ready, allowed=allowed, read_only=options["read_only"], prices=prices)
