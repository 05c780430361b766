"""Draw figures as SVG. Colours come from the style sheet by classes, and every picture has its numbers beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localstore.exporting.html_text import escaped

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 190, 52, 12, 26
_STEPS = (1, 2, 2.5, 5, 10)


def bar_chart(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    shown: Callable[[float], str],
    *,
    stacked: bool = True,
) -> str:
    """Return a chart with a bar for each label, as a figure whose numbers can be unfolded as a table.

    Args:
        title: What is counted.
        labels: The label of each bar.
        series: The values of each series by its name: the parts of a bar, one on the other; or, if `stacked` is False,
            one behind the other.
        shown: Writes a value.
    """
    tops = [
        sum(values[at] for values in series.values()) if stacked else max(values[at] for values in series.values())
        for at in range(len(labels))
    ]
    highest = scale(max(tops, default=0.0))
    return (
        f'<figure class="chart"><figcaption>{escaped(title)}{_legend(series)}</figcaption>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(title)}, drawn">'
        f"{_svg(title, labels, series, highest, shown, stacked=stacked)}</div>\n"
        f"<details><summary>As a table</summary>{_table(title, labels, series, shown)}</details></figure>\n"
    )


def scale(highest: float) -> float:
    """Return a round number that is not smaller.

    >>> scale(0.7), scale(43), scale(0)
    (1.0, 50.0, 1.0)
    """
    if highest <= 0:
        return 1.0
    power = 1.0
    while power * 10 < highest:
        power *= 10
    while power >= highest:
        power /= 10
    return next(step * power for step in _STEPS if step * power >= highest)


def _legend(series: Mapping[str, Sequence[float]]) -> str:
    if len(series) == 1:
        return ""
    names = "".join(f'<span class="key {_class(name, at)}">{escaped(name)}</span>' for at, name in enumerate(series))
    return f' <span class="legend">{names}</span>'


def _class(name: str, number: int) -> str:
    """Return the class that gives a series its colour."""
    return "failures" if name == "failed" else f"s{number}"


def _svg(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    highest: float,
    shown: Callable[[float], str],
    *,
    stacked: bool,
) -> str:
    height, width = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT
    slot = width / max(1, len(labels))
    thick = min(28.0, slot * 0.72)
    label = f"{escaped(title)}: the table below has the numbers"
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">']
    for share in (0.0, 0.5, 1.0):
        y = _TOP + height * (1 - share)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        mark = escaped(shown(highest * share))
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark}</text>')
    every = max(1, -(-len(labels) // 10))
    for at, label in enumerate(labels):
        x = _LEFT + slot * at + (slot - thick) / 2
        below = 0.0
        for number, (name, values) in enumerate(series.items()):
            if not values[at]:
                continue
            tall = height * values[at] / highest
            y = _TOP + height - tall - (below if stacked else 0.0)
            parts.append(
                f'<rect class="{_class(name, number)}" x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" '
                f'height="{max(1.0, tall):.1f}">'
                f"<title>{escaped(f'{label}: {shown(values[at])} {name}')}</title></rect>"
            )
            below += tall
        if at % every == 0:
            middle = _LEFT + slot * (at + 0.5)
            mark = escaped(_short(label))
            parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{mark}</text>')
    return "".join([*parts, "</svg>"])


def _short(label: str) -> str:
    """Return a day without its year; other labels as they are."""
    return label[5:] if len(label) == 10 else label


def _table(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], shown: Callable[[float], str]
) -> str:
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in series)
    rows = "".join(
        f'<tr><th scope="row">{escaped(label)}</th>'
        + "".join(f"<td>{escaped(shown(values[at]))}</td>" for values in series.values())
        + "</tr>"
        for at, label in enumerate(labels)
    )
    return (
        f'<table class="numbers"><caption class="hidden">{escaped(title)}</caption><thead><tr>'
        f'<th scope="col">Time</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def spark(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a small picture of runs, oldest first: one bar for each, as high as it used tokens; failed ones are red.

    Where tokens are not known, the bars are as high as the runs took time.
    """
    sizes = [_size(run, ("input_tokens", "output_tokens")) for run in runs]
    if not any(sizes):
        sizes = [_size(run, ("duration_seconds",)) for run in runs]
    highest = max(sizes, default=0.0) or 1.0
    bars = []
    for at, (run, size) in enumerate(zip(runs, sizes, strict=True)):
        tall = max(2.0, 18 * size / highest)
        colour = "#d9483b" if run.get("status") == "error" else "#4f8fd0"
        bars.append(f'<rect x="{at * 4}" y="{19 - tall:.1f}" width="3" height="{tall:.1f}" fill="{colour}"/>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 20" width="96" height="20">{"".join(bars)}</svg>'


def _size(run: Mapping[str, Any], names: tuple[str, ...]) -> float:
    metrics = run.get("metrics") or {}
    return float(sum(metrics.get(name) or 0 for name in names))
