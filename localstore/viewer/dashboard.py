"""The dashboard: what was used, over time and by model, user and entity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from localstore.exporting.html_bars import bar
from localstore.exporting.html_text import escaped
from localstore.models.figures import amount, counted, short_time
from localstore.viewer.charts import bar_chart
from localstore.viewer.filters import Query
from localstore.viewer.frame import View, load_again

if TYPE_CHECKING:
    from localstore.models.stats import Counts, Stats
    from localstore.viewer.counting import Figures, Timed

_ROWS = 20
"""How many lines a table shows before the rest is folded."""


def dashboard_body(view: View, query: Query, figures: Figures, by: str = "") -> Iterator[str]:
    """Yield the part of the dashboard that follows the filter. `by` is the period that was asked for, if any was."""
    if query.problem:
        yield f'<p class="error" role="alert">{escaped(query.problem)}</p>\n'
    total = figures.total
    if not total.sessions:
        yield '<p class="notice">No sessions match.</p>\n'
        return
    yield from _tiles(figures)
    groups = [counts for counts in figures.times.groups if _time_of(counts)]
    labels = every_time([_time_of(counts) for counts in groups])
    of = {_time_of(counts): counts for counts in groups}

    def values(read: Callable[[Counts], float]) -> list[float]:
        return [read(of[label]) if label in of else 0.0 for label in labels]

    yield f'<section aria-label="Over time"><h2>By {figures.unit}</h2>\n<div class="charts">\n'
    runs = {"completed": values(lambda it: it.runs - it.failures), "failed": values(lambda it: it.failures)}
    yield bar_chart("Runs", labels, runs, _whole)
    tokens = {"in": values(lambda it: it.input_tokens), "out": values(lambda it: it.output_tokens)}
    yield bar_chart("Tokens", labels, tokens, amount)
    if figures.has_prices:
        yield bar_chart("Cost", labels, {"cost": values(lambda it: it.cost or 0.0)}, _money)
    if figures.durations:
        cut = 10 if figures.unit == "day" else 7
        spans = _grouped(figures.durations, lambda timed: timed.day[:cut])
        quantiles = {
            "p95": [quantile(spans.get(label, []), 0.95) for label in labels],
            "p50": [quantile(spans.get(label, []), 0.5) for label in labels],
        }
        yield bar_chart("Duration of a run", labels, quantiles, short_time, stacked=False)
    yield "</div>\n"
    if not view.is_static:
        other = "day" if figures.unit == "month" else "month"
        address = view.links.query("dashboard", [*query.pairs, ("by", other)])
        yield f'<p class="pages"><a href="{escaped(address)}">By {other}</a></p>\n'
    yield "</section>\n"
    tables: tuple[tuple[str, str, Stats, Callable[[Timed], str]], ...] = (
        ("model", "Model", figures.models, lambda timed: timed.model),
        ("user", "User", figures.users, lambda timed: timed.user),
        ("entity", "Agent, team or workflow", figures.entities, lambda timed: timed.entity),
    )
    for name, label, stats, key in tables:
        yield from _table(view, name, label, stats, _grouped(figures.durations, key), figures)
    if figures.times.unpriced:
        names = ", ".join(model or "(no model)" for model in figures.times.unpriced)
        yield f'<p class="notice">There is no price for {escaped(names)}: the cost leaves out these tokens.</p>\n'
    if figures.times.unreadable:
        unreadable = counted(figures.times.unreadable, "document")
        problems = f'<a href="{escaped(view.links.page("problems"))}">Problems</a>'
        yield f'<p class="notice">{unreadable} cannot be read: the last known counts are used. See {problems}.</p>\n'
    local = datetime.fromtimestamp(figures.counted_at).astimezone()
    counting = ""
    if figures.is_counting:
        again = view.links.query("dashboard", [*query.pairs, *([("by", by)] if by else [])])
        counting = f", and being counted again{load_again(again)}"
    yield (
        f'<p class="notice">Counted at {local:%H:%M:%S}{counting}. Days and months are in UTC. Durations are those of '
        "the last 50 runs of the newest 500 sessions that match.</p>\n"
    )


def _tiles(figures: Figures) -> Iterator[str]:
    total = figures.total
    spans = sorted(timed.seconds for timed in figures.durations)
    share = 100 * total.failures / total.runs if total.runs else 0.0
    cached = f"{amount(total.cached_tokens)} cached" if total.cached_tokens else ""
    tiles = [
        ("Sessions", f"{total.sessions:,}", ""),
        ("Runs", f"{total.runs:,}", ""),
        ("Failed", f"{total.failures:,}", f"{share:.1f}% of the runs"),
        ("Tokens in", amount(total.input_tokens), cached),
        ("Tokens out", amount(total.output_tokens), ""),
    ]
    if total.cost is not None:
        tiles.append(("Cost", _money(total.cost), ""))
    if spans:
        tiles.append(("Median run", short_time(quantile(spans, 0.5)), f"95% within {_p95(spans)}"))
    yield '<dl class="tiles">'
    yield "".join(
        f"<div><dt>{label}</dt><dd><strong>{escaped(value)}</strong> <small>{escaped(note)}</small></dd></div>"
        for label, value, note in tiles
    )
    yield "</dl>\n"


def _p95(spans: list[float]) -> str:
    return short_time(quantile(spans, 0.95))


def _table(
    view: View, name: str, label: str, stats: Stats, spans: dict[str, list[float]], figures: Figures
) -> Iterator[str]:
    groups = sorted(stats.groups, key=lambda counts: (-counts.runs, getattr(counts, name) or ""))
    if len(groups) == 1 and getattr(groups[0], name) is None:
        return
    most = max((counts.runs for counts in groups), default=0) or 1
    heads = ["Sessions", "Runs", "Failed", "Tokens in", "Tokens out"]
    heads += ["Cost"] if figures.has_prices else []
    heads += ["p50", "p95"]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    title = f"By {'agent, team or workflow' if name == 'entity' else name}"
    yield (
        f'<section aria-label="{title}"><h2>{title}</h2>\n<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{title}, table"><table class="numbers"><thead><tr><th scope="col">{label}</th>{head}</tr></thead>'
        "<tbody>"
    )
    for counts in groups[:_ROWS]:
        value = getattr(counts, name)
        link = escaped(view.links.page("", **{name: value}))
        shown = f'<a href="{link}"><bdi>{escaped(value)}</bdi></a>' if value else "<em>none</em>"
        of = spans.get(value or "", [])
        cells = [
            f"{counts.sessions:,}",
            f"{counts.runs:,}",
            f"{counts.failures:,}" if counts.failures else "",
            amount(counts.input_tokens),
            amount(counts.output_tokens),
            *([_money(counts.cost or 0.0)] if figures.has_prices else []),
            short_time(quantile(of, 0.5)) if of else "",
            _p95(of) if of else "",
        ]
        drawn = bar(0.0, counts.runs / most)
        yield f'<tr><th scope="row">{shown}{drawn}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
    yield "</tbody></table></div>\n"
    if len(groups) > _ROWS:
        yield f'<p class="notice">and {len(groups) - _ROWS:,} more</p>\n'
    yield "</section>\n"


def every_time(times: Sequence[str]) -> list[str]:
    """Return all days or months from the first to the last.

    >>> every_time(["2026-10", "2026-12"]), every_time(["2026-11-30", "2026-12-01"])
    (['2026-10', '2026-11', '2026-12'], ['2026-11-30', '2026-12-01'])
    """
    if not times:
        return []
    at, last = min(times), max(times)
    result: list[str] = []
    while at <= last and len(result) < 400:
        result.append(at)
        if len(at) == 7:
            year, month = int(at[:4]), int(at[5:])
            at = f"{year + month // 12:04d}-{month % 12 + 1:02d}"
        else:
            at = (date.fromisoformat(at) + timedelta(1)).isoformat()
    return result


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed; 0 if there are none.

    >>> quantile([3, 1, 2], 0.5), quantile([], 0.5)
    (2, 0.0)
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _grouped(durations: Iterable[Timed], key: Callable[[Timed], str]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for timed in durations:
        groups[key(timed)].append(timed.seconds)
    return groups


def _time_of(counts: Counts) -> str:
    return counts.day or counts.month or ""


def _whole(number: float) -> str:
    return amount(number) if number == int(number) else f"{number:.1f}"


def _money(number: float) -> str:
    return f"{number:,.2f}" if number >= 0.01 or not number else f"{number:.4f}"
