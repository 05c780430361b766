"""Describe wrong values in errors, and suggest what may have been meant."""

from collections.abc import Iterable, Sequence

from localstore.models.excerpt import short_repr


def did_you_mean(word: str, allowed: Iterable[str], similarity: float = 0.6) -> str:
    """Return a sentence that suggests the most similar of the allowed words, or "" if none is similar.

    `similarity` is the lowest ratio of `difflib` that counts, from 0 to 1.

    >>> did_you_mean("complete", ["unfinished", "completed", "error", "cancelled"])
    " Did you mean 'completed'?"
    """
    from difflib import get_close_matches

    similar = get_close_matches(word.casefold()[:100], list(allowed), 1, similarity)
    return f" Did you mean {similar[0]!r}?" if similar else ""


def not_one_of(value: object, allowed: Sequence[str]) -> str:
    """Return the end of an error about a value that is none of the allowed words.

    >>> not_one_of("agnet", ["agent", "team"])
    "must be one of agent, team, not 'agnet'. Did you mean 'agent'?"
    """
    problem = f"must be one of {', '.join(allowed)}, not {shown(value)}"
    suggestion = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return f"{problem}.{suggestion}" if suggestion else problem


def shown(value: object) -> str:
    """Return a value as an error shows it: its repr, shortened, or its type if the repr fails.

    >>> shown("complete")
    "'complete'"
    """
    try:
        return short_repr(value)
    except Exception:  # noqa: BLE001 - code of the caller, which must not hide the error that is being described
        return f"a {type(value).__name__}"
