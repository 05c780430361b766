"""Ids of sessions that are joined from several names, each of which may be any text."""


def escaped_name(name: str) -> str:
    """Return a name without slashes, so that one can stand between names.

    >>> escaped_name("a/b%")
    'a%2Fb%25'
    """
    return name.replace("%", "%25").replace("/", "%2F")


def plain_name(text: str) -> str:
    """Return the name that `escaped_name` was given."""
    return text.replace("%2F", "/").replace("%25", "%")
