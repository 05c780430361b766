"""Draw durations as bars."""

from localstore.models.session import Run, Step

_WIDTH = 100.0


def bar(start: float, length: float) -> str:
    """Return a bar as SVG that begins at a share of the whole width and is as long as another one.

    Both are cut to 0..1. It is hidden from screen readers, since the same numbers stand beside it as text.
    """
    start = min(1.0, max(0.0, start))
    length = min(1.0 - start, max(0.0, length))
    x, width = start * _WIDTH, max(1.0, length * _WIDTH)
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH:g} 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="{_WIDTH:g}" height="6"/>'
        f'<rect class="span" x="{min(x, _WIDTH - width):.1f}" width="{width:.1f}" height="6"/></svg>'
    )


def span_bar(part: Run | Step, whole: Run | Step) -> str:
    """Return when a part of a run took place and how long it took, as a bar below the whole; "" if it is not known."""
    total, seconds = _seconds(whole), _seconds(part)
    if not total or seconds is None:
        return ""
    start = 0.0
    if part.created_at is not None and whole.created_at is not None:
        start = (part.created_at - whole.created_at).total_seconds() / total
    return bar(start, seconds / total)


def _seconds(record: Run | Step) -> float | None:
    return None if record.metrics is None else record.metrics.duration_seconds
