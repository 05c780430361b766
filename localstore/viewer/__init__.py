"""The pages of `localstore serve`: an ASGI app that shows the sessions of any storage in a browser.

from localstore.viewer import app

The extra `serve` has what the app needs. The static pages of `localstore export --format site` do without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localstore.viewer.application import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from localstore.viewer.application import app

    return app
