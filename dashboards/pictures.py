"""A picture of a dashboard, drawn from what its queries give: for where there is no Grafana."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dashboards.model import THIRD, WHOLE, Dashboard, Kind, Panel, Row, placed
from dashboards.queries import Answer, NoAnswer, Period, Sources, period_of, series_of

#: Inches of one of Grafana's units, sideways and down.
_ACROSS, _DOWN = 0.72, 0.42
_DOTS = 85
_COLOURS = ("#3274d9", "#56a64b", "#f2cc0c", "#e02f44", "#8f3bb8", "#ff780a", "#37872d", "#1f60c4", "#c4162a", "#7c2ea3")
_NAMED = dict(zip(("blue", "green", "yellow", "red", "purple", "orange"), _COLOURS, strict=False))
_INK, _FAINT, _LINES = "#24292e", "#7b8087", "#e4e7eb"
_GOOD, _MIDDLING, _BAD, _PLAIN = "#37872d", "#c69026", "#c4162a", "#1f60c4"
#: Characters of a name, and rows of a table, for which there is room.
_NAME, _ROWS = 26, 9
#: Numbers that are written without what is behind the point.
_WHOLE_FROM = 100
#: Bars for which there is room at least, so that few are not thick.
_FEWEST = 5
#: How many of a panel's columns the name of a series takes, in the legend's two lines.
_NAME_WIDTH = 3


@dataclass(frozen=True)
class Drawn:
    """Which file, and the titles of the panels without data, with the reason where there was an error."""

    path: Path
    empty: Mapping[str, str]


def draw(dashboard: Dashboard, sources: Sources, folder: Path, since: str | None = None) -> Drawn:
    """Writes `<uid>.png`, of what the dashboard shows at first or since another time. What fails leaves its panel empty."""
    period = period_of(dashboard, since=since)
    values = sources.values(dashboard, period)
    places = list(placed(dashboard.rows))
    height = max(place.y + place.height for _, place in places) + 1
    figure = Figure(figsize=(WHOLE * _ACROSS, height * _DOWN), dpi=_DOTS, facecolor="white")
    figure.text(0.012, 1 - 0.55 / height, dashboard.title, fontsize=15, weight="bold", color=_INK, va="center")
    empty: dict[str, str] = {}
    for shown, place in places:
        left, top = place.x / WHOLE, 1 - (place.y + 1) / height
        if isinstance(shown, Row):
            figure.text(0.012, top - 0.5 / height, shown.title, fontsize=11, weight="bold", color=_PLAIN, va="center")
            continue
        title = shown.title.replace("${currency}", values.get("currency", ""))
        figure.text(left + 0.012, top - 0.45 / height, title, fontsize=9.5, weight="bold", color=_INK, va="center")
        # Room for what stands beside the axes, in shares of the whole.
        margin = (0.105 if shown.kind == "ranking" else 0.035 if shown.kind in {"lines", "columns"} else 0.012)
        box = (left + margin, top - (place.height - 1.1) / height, place.width / WHOLE - margin - 0.015, (place.height - 2.0) / height)
        axes = figure.add_axes(box)
        reason = _fill(axes, shown, sources, period, values)
        if reason is not None:
            empty[title] = reason
    path = folder / f"{dashboard.uid}.png"
    figure.savefig(path)
    return Drawn(path, empty)


def _fill(axes: Axes, panel: Panel, sources: Sources, period: Period, values: Mapping[str, str]) -> str | None:
    """Draws the panel; why it is empty if it is."""
    try:
        answers = sources.answers(panel, period, values)
    except (NoAnswer, ClickHouseError) as error:
        return _nothing(axes, str(error))
    if not any(answer.rows for answer in answers):
        return _nothing(axes, "")
    _DRAW[panel.kind](axes, panel, answers, period)
    return None


def _nothing(axes: Axes, reason: str) -> str:
    axes.axis("off")
    axes.text(0.5, 0.5, "no data", ha="center", va="center", color=_FAINT, fontsize=9, transform=axes.transAxes)
    return reason


def _stat(axes: Axes, panel: Panel, answers: Sequence[Answer], period: Period) -> None:
    axes.axis("off")
    value = answers[0].rows[-1][-1]
    shown = written(value, panel.unit, panel.decimals)
    axes.text(0, 0.45, shown, fontsize=24, weight="bold", color=_colour(value, panel.steps), va="center")


def _colour(value: float, steps: tuple[float, float] | None) -> str:
    if steps is None:
        return _PLAIN
    first, second = steps
    if second < first:
        return _GOOD if value >= first else _MIDDLING if value >= second else _BAD
    return _GOOD if value < first else _MIDDLING if value < second else _BAD


def _lines(axes: Axes, panel: Panel, answers: Sequence[Answer], period: Period) -> None:
    for (name, points), colour in zip(_series(answers), cycle(_COLOURS), strict=False):
        times, values = zip(*points, strict=True)
        axes.plot(times, values, color=colour, label=name, linewidth=1.6, marker=".", markersize=3)
    _over_time(axes, panel, period)


def _columns(axes: Axes, panel: Panel, answers: Sequence[Answer], period: Period) -> None:
    below: dict[datetime, float] = {}
    width = timedelta(seconds=period.interval_s * 0.8)
    for (name, points), colour in zip(_series(answers), cycle(_COLOURS), strict=False):
        times, values = zip(*points, strict=True)
        bottoms = [below.get(time, 0.0) for time in times]
        axes.bar(times, values, width=width, bottom=bottoms, color=_NAMED.get(panel.colours.get(name, ""), colour), label=name)  # type: ignore[arg-type]
        below |= {time: bottom + value for time, bottom, value in zip(times, bottoms, values, strict=True)}
    _over_time(axes, panel, period)


def _series(answers: Sequence[Answer]) -> list[tuple[str, list[tuple[datetime, float]]]]:
    return [each for answer in answers for each in series_of(answer).items()]


def _over_time(axes: Axes, panel: Panel, period: Period) -> None:
    axes.set_xlim(period.start, period.end)  # type: ignore[arg-type]  # matplotlib takes times, and its types do not
    axes.set_ylim(0, None if axes.dataLim.ymax > 0 else 1)
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, panel.unit)))
    axes.xaxis.get_offset_text().set(fontsize=7, color=_FAINT)
    axes.grid(axis="y", color=_LINES)
    axes.set_axisbelow(True)
    _plain(axes)
    beside = panel.width // _NAME_WIDTH
    handles, names = axes.get_legend_handles_labels()
    shown = [_short(name) for name in names[: 2 * beside]]
    legend = axes.legend(handles[: 2 * beside], shown, ncols=beside, loc="upper left", bbox_to_anchor=(-0.02, -0.1))
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_fontsize(6.5)


def _ranking(axes: Axes, panel: Panel, answers: Sequence[Answer], period: Period) -> None:
    rows = [(str(row[-2]), float(row[-1])) for answer in answers for row in answer.rows]
    names, values = zip(*rows, strict=True)
    places = range(len(rows))
    axes.barh(places, values, color=_COLOURS[0], height=0.7)
    axes.set_yticks(places, [_short(name) for name in names])
    axes.set_ylim(max(len(rows), _FEWEST) - 0.5, -0.5)
    axes.set_xlim(0, max(*values, 1e-9) * 1.18)
    axes.set_xticks([])
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {written(value, panel.unit)}", va="center", fontsize=7.5, color=_INK)
    _plain(axes)


def _table(axes: Axes, panel: Panel, answers: Sequence[Answer], period: Period) -> None:
    axes.axis("off")
    [answer] = answers
    step = 1 / (_ROWS + 1)
    for number, column in enumerate(answer.columns):
        at = (number + (number > 0)) / (len(answer.columns) + 1)  # names come first, and are long
        axes.text(at, 1 - step / 2, column, fontsize=8, weight="bold", color=_FAINT, va="center")
        unit = panel.units.get(column, panel.unit)
        for row_number, row in enumerate(answer.rows[:_ROWS], 1):
            cell = _cell(row[number], unit, _NAME * panel.width // THIRD)
            axes.text(at, 1 - step * (row_number + 0.5), cell, fontsize=8, color=_INK, va="center")
    for row_number in range(1, min(len(answer.rows), _ROWS) + 1):
        axes.axhline(1 - step * row_number, color=_LINES, linewidth=0.8)
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 1)


def _cell(value: Any, unit: str, most: int) -> str:
    if isinstance(value, int | float):
        return written(value, unit)
    return f"{value:%m-%d %H:%M:%S}" if isinstance(value, datetime) else _short(str(value), most)


def _short(text: str, most: int = _NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINES)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=_FAINT)


_DRAW: Mapping[Kind, Callable[[Axes, Panel, Sequence[Answer], Period], None]] = {
    "stat": _stat,
    "lines": _lines,
    "columns": _columns,
    "ranking": _ranking,
    "table": _table,
}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in Grafana's unit, in few characters."""
    match unit:
        case "percentunit":
            return f"{value * 100:.{decimals or 0 if value in (0, 1) else 1}f}%"
        case "s":
            return _scaled(value, ((60, 60, " min"), (1, 1, " s"), (1e-3, 1e-3, " ms"), (0, 1e-6, " µs")))
        case "ms":
            return _scaled(value, ((1_000, 1_000, " s"), (0, 1, " ms")))
        case "bytes" | "Bps":
            ending = "/s" if unit == "Bps" else ""
            scale = ((2**30, 2**30, f" GiB{ending}"), (2**20, 2**20, f" MiB{ending}"), (2**10, 2**10, f" KiB{ending}"))
            return _scaled(value, (*scale, (0, 1, f" B{ending}")))
        case "cps" | "reqps":
            return f"{_digits(value)}/s"
    return f"{value:,.{decimals}f}" if decimals is not None else f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _scaled(value: float, scale: Sequence[tuple[float, float, str]]) -> str:
    if value == 0:
        return "0"
    divisor, ending = next((divisor, ending) for least, divisor, ending in scale if abs(value) >= least)
    return f"{_digits(value / divisor)}{ending}"


def _digits(value: float) -> str:
    """Three of them, or the whole number."""
    return f"{value:.3g}" if abs(value) < _WHOLE_FROM else f"{value:,.0f}"
