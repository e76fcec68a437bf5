"""The charts of a report and the words under them; the page's script draws what `Chart.spec` says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from statistics import StatisticsError, correlation, fmean
from typing import Any

from sparring.losses import Labels
from sparring.metrics import METRICS
from sparring.penalties import PENALTIES
from sparring.report import wording
from sparring.report.story import Story
from sparring.report.wording import Number
from sparring.runs import Event
from sparring.theory import EQUILIBRIUM_VALUE

#: Points of a curve; more rows than that are averaged in blocks.
MOST_POINTS = 800


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: in the legend.
        who: whose colour: "d", "g", "p0" … "p2", or "level" for a thin line to compare with.
        x: steps.
        y: values; None leaves a gap.
        dash: "solid", "dot" or "dash".
        star: whether it is a single marked point.
        band: the ends of each value's interval, low and high; empty where none is known.
    """

    name: str
    who: str
    x: list[int]
    y: list[Number]
    dash: str = "solid"
    star: bool = False
    band: tuple[list[Number], list[Number]] | tuple[()] = ()

    @property
    def values(self) -> list[float]:
        """The values that are numbers."""
        return [value for value in self.y if value is not None]


@dataclass(frozen=True)
class Chart:
    """A chart with its words.

    Attributes:
        key: its id on the page.
        title: what it shows.
        caption: how to read it, HTML.
        lines: its curves.
        heat: steps, names, shares; instead of lines.
        written: how to write a value in the legend.
        protocol: how its numbers were measured.
        flags: "log", "percent", "zero" for the y axis, "wide" for the card.
    """

    key: str
    title: str
    caption: str
    lines: tuple[Line, ...] = ()
    heat: dict[str, Any] | None = None
    written: Callable[[Number], str] = wording.number
    protocol: str = ""
    flags: frozenset[str] = field(default_factory=frozenset)

    @property
    def empty(self) -> bool:
        """Whether nothing but levels and marks would be drawn."""
        return self.heat is None and not any(
            line.values for line in self.lines if line.who != "level" and not line.star
        )

    def spec(self) -> dict[str, Any]:
        """Return what the page's script draws."""
        steps = [step for line in self.lines for step in line.x]
        lines = [
            {**vars(line), "y": [*map(_short, line.y)], "band": [[*map(_short, ends)] for ends in line.band]}
            for line in self.lines
        ]
        margin = 0.02 * (max(steps) - min(steps)) or 1 if steps else 1
        reach = [min(steps) - margin, max(steps) + margin] if steps else None
        switches = {flag: flag in self.flags for flag in ("log", "percent", "zero")}
        return {"id": self.key, "lines": lines, "heat": self.heat, "range": reach, **switches}

    def html(self) -> str:
        """Return the card: title, legend with the last values, place for the chart, caption, protocol."""
        legend = "".join(map(self._legend_item, self.lines))
        protocol = f'<p class="protocol">{escape(self.protocol)}</p>' if self.protocol else ""
        return (
            f'<article class="card{" wide" if "wide" in self.flags else ""}"><h3>{escape(self.title)}</h3>'
            f'{f"""<ul class="legend">{legend}</ul>""" if legend else ""}'
            f'<div class="plot" id="{self.key}" role="img" aria-label="{escape(self._spoken())}"></div>'
            f'<p class="caption">{self.caption}</p>{protocol}</article>'
        )

    def _legend_item(self, line: Line) -> str:
        if line.star:
            return f'<li><i class="star key-ink" aria-hidden="true">★</i>{escape(line.name)}</li>'
        last = "" if line.who == "level" or not line.values else f" <b>{escape(self.written(line.values[-1]))}</b>"
        key = f'<i class="key-{line.who} {line.dash}" aria-hidden="true"></i>'
        return f"<li>{key}<span>{escape(line.name)}{last}</span></li>"

    def _spoken(self) -> str:
        """Return the chart for those who cannot see it."""
        if self.heat is not None:
            return f"Heat map: {self.title}, from step {self.heat['steps'][0]} to step {self.heat['steps'][-1]}."
        told = [
            f"{line.name} from {self.written(line.values[0])} at step {line.x[0]} to {self.written(line.values[-1])} "
            f"at step {line.x[-1]}"
            for line in self.lines
            if line.values and line.who != "level" and not line.star
        ]
        return f"Line chart: {'; '.join(told)}."


def _short(value: Number) -> Number:
    """Round to what a chart can show."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def thin(rows: list[Event]) -> list[Event]:
    """Average the numbers of neighbouring rows where there are more rows than a chart can show."""
    size = math.ceil(len(rows) / MOST_POINTS)
    return rows if size < 2 else [_mean_row(rows[start : start + size]) for start in range(0, len(rows), size)]


def _mean_row(block: list[Event]) -> Event:
    names = dict.fromkeys(name for row in block for name in row)
    mean: Event = {"step": block[-1]["step"]}
    for name in names:
        values = [row[name] for row in block if isinstance(row.get(name), int | float)]
        if name != "step" and values:
            mean[name] = fmean(values)
    return mean


def curve(rows: list[Event], key: str, name: str, who: str, dash: str = "solid") -> Line:
    """Return a logged value as a curve, from the first row that has it."""
    present = [row for row in rows if key in row]
    return Line(name, who, [row["step"] for row in present], [row[key] for row in present], dash)


def _level(rows: list[Event], value: float, name: str) -> Line:
    return Line(name, "level", [rows[0]["step"], rows[-1]["step"]], [value, value], "dash")


def game_charts(story: Story) -> list[Chart]:
    """Return the charts of the section "The game"; those without a value are left out."""
    rows = thin(story.logs)
    if not rows:
        return []
    makers = (_loss_chart, _output_chart, _value_chart, _accuracy_chart, _gradient_chart, _terms_chart)
    charts = [maker(story, rows) for maker in makers]
    return [chart for chart in charts if chart is not None and not chart.empty]


def _loss_chart(story: Story, rows: list[Event]) -> Chart:
    lines = [curve(rows, "D/loss", "D’s loss", "d"), curve(rows, "G/loss", "G’s loss", "g")]
    lines += [
        curve(rows, f"{player}/adversarial", f"{player}’s adversarial part", player.lower(), "dot")
        for player in ("D", "G")
        if any(f"{player}/adversarial" in row for row in rows)
    ]
    if story.loss is not None and story.loss.lipschitz:
        caption = (
            "Here, and only with a critic whose slope is bounded, a loss says something about quality: minus D’s loss "
            "estimates how far the generated samples are from the data. It should shrink slowly."
        )
    else:
        caption = (
            "Each loss rises when the other player gets better, so neither measures quality. A long draw is healthy. "
            "D’s loss near 0 is a failing game and no equilibrium: D rejects everything, and G is taught nothing."
        )
    watch = f" With the {story.loss.name} loss: {_in_sentence(story.loss.watch)}" if story.loss else ""
    return Chart("losses", "Losses of both players", escape(caption + watch), tuple(lines))


def _in_sentence(text: str) -> str:
    """Start lower-case what is no symbol: "Both logits" but "L_D" and "D(x)"."""
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _output_chart(story: Story, rows: list[Event]) -> Chart:
    loss = story.loss
    if any("D/real_prob" in row for row in rows):
        caption = (
            "How likely D thinks it that a sample is real, on average over real samples and over G’s. At the "
            "equilibrium both are ½: D can only guess. Lines that part towards 1 and 0 mean that D wins."
        )
        lines = [
            curve(rows, "D/real_prob", "D(x), real samples", "d"),
            curve(rows, "D/fake_prob", "D(G(z)), generated", "g"),
            _level(rows, 0.5, "½, the equilibrium"),
        ]
        return Chart("outputs", "What D believes", escape(caption + _smoothing_note(story)), tuple(lines))
    name = f"The {loss.name} loss" if loss else "This loss"
    caption = (
        f"{name} does not make D’s output a probability, so ½ and V = −log 4 mean nothing here: these are its raw "
        "outputs, larger for more real. The gap between the lines is what counts. No gap: D cannot tell; a gap that "
        "keeps growing: D runs away from G."
    )
    lines = [
        curve(rows, "D/real_logits", "D(x), real samples", "d"),
        curve(rows, "D/fake_logits", "D(G(z)), generated", "g"),
    ]
    if loss is not None and loss.threshold is not None:
        lines.append(_level(rows, loss.threshold, f"{loss.threshold:g}, D’s border"))
    return Chart("outputs", "D’s raw outputs", escape(caption), tuple(lines))


def _smoothing_note(story: Story) -> str:
    if story.config is None or story.config.labels == Labels():
        return ""
    real, fake = story.config.real_label, story.config.fake_label
    return f" The smoothed labels {real:g} and {fake:g} move that point to {(real + fake) / 2:g}."


def _value_chart(story: Story, rows: list[Event]) -> Chart:
    caption = (
        "V(D, G) = E[log D(x)] + E[log(1 − D(G(z)))] is what D pushes up and G pushes down. 0 would be a D that is "
        "never wrong; −log 4 ≈ −1.386 is a D that says ½ to everything, as at the equilibrium. Alone it proves balance, "
        "not quality: an untrained D says ½ too."
    )
    lines = (
        curve(rows, "D/value", "V(D, G)", "d"),
        _level(rows, EQUILIBRIUM_VALUE, "−log 4, the equilibrium"),
    )
    return Chart("value", "The value of the game", escape(caption), lines)


def _accuracy_chart(story: Story, rows: list[Event]) -> Chart:
    pairs = story.loss is not None and story.loss.threshold is None
    what = "how often D scores a real sample above a generated one" if pairs else "how often D is right"
    caption = (
        f"Here accuracy is {what}. 50 % is a coin toss, where the game ends when G is perfect. Close to 100 % for long "
        "means that D is too far ahead for G to learn from it."
    )
    lines = (curve(rows, "D/accuracy", "accuracy of D", "d"), _level(rows, 0.5, "50 %, chance"))
    flags = frozenset({"percent"})
    return Chart("accuracy", "How often D is right", escape(caption), lines, written=wording.percent, flags=flags)


def _gradient_chart(story: Story, rows: list[Event]) -> Chart:
    caption = (
        "The length of each player’s gradient, on a logarithmic axis. G’s line falling by powers of ten is a vanishing "
        "gradient: D gives it no direction. Growing spikes call for a lower learning rate or a penalty such as r1."
    )
    lines = (curve(rows, "D/grad_norm", "D’s gradient", "d"), curve(rows, "G/grad_norm", "G’s gradient", "g"))
    return Chart("gradients", "Gradient norms", escape(caption), lines, flags=frozenset({"log"}))


def _terms_chart(story: Story, rows: list[Event]) -> Chart | None:
    """Draw every other logged signal: penalties, and terms that later games add."""
    drawn = {"loss", "adversarial", "grad_norm", "accuracy", "value"}
    drawn |= {f"{kind}_{form}" for kind in ("real", "fake") for form in ("logits", "prob")}
    names = dict.fromkeys(name for row in rows for name in row if name[:2] in ("D/", "G/") and name[2:] not in drawn)
    if not names:
        return None
    known = [name[2:] for name in names if name[2:] in PENALTIES]
    watch = " ".join(
        f"{name}: {PENALTIES[name].watch}" for name in known if not PENALTIES[name].watch.startswith("As ")
    )
    caption = f"What is added to the losses, weights included. {watch}"
    lines = tuple(
        curve(rows, name, name[2:] if name[2:] in known else name, f"p{index % 3}", ("solid", "dot")[index // 3 % 2])
        for index, name in enumerate(names)
    )
    positive = all(value > 0 for line in lines for value in line.values)
    title = "Penalties" if len(known) == len(names) else "Other terms"
    return Chart("terms", title, escape(caption.strip()), lines, flags=frozenset({"log"} if positive else ()))


def metric_charts(story: Story) -> list[Chart]:
    """Return a chart for every metric, and the share of each class over time."""
    charts = [_metric_chart(story, name) for name in story.metrics]
    heat = _class_chart(story)
    return [chart for chart in (*charts, heat) if chart is not None and not chart.empty]


def _metric_chart(story: Story, name: str) -> Chart:
    rows = thin(story.evaluations)
    line = curve(rows, name, wording.title(name), "g")
    band = _band(rows, name)
    lines = [replace(line, band=band)]
    caption = _metric_caption(name)
    if band:
        caption += " The band holds the 95 % intervals."
    real = story.floor.get(name)
    if isinstance(real, int | float):
        lines.append(_level(rows, real, f"real data: {wording.score(name, real)}"))
        caption += " The dashed line is what as many real training samples score."
    chooses = name == story.metrics[0]
    if chooses:
        lines += _best_mark(story, name)
        caption += _loss_agreement(story, name)
    flags = _metric_axis(name, lines) | ({"wide"} if chooses and len(story.metrics) % 2 else set())
    protocol = str(story.evaluations[-1].get("protocol") or "")
    key = f"metric-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
    write = partial(wording.score, name)
    return Chart(key, wording.title(name), caption, tuple(lines), None, write, protocol, frozenset(flags))


def _band(rows: list[Event], name: str) -> tuple[list[Number], list[Number]] | tuple[()]:
    """Return the ends of the intervals of all rows that have the metric, or nothing if one of them has none."""
    ends = [(row.get("intervals") or {}).get(name) for row in rows if name in row]
    if len(ends) < 2 or not all(isinstance(pair, list) and all(map(math.isfinite, pair)) for pair in ends):
        return ()
    low, high = zip(*ends, strict=True)
    return [*low], [*high]


def _best_mark(story: Story, name: str) -> list[Line]:
    if story.best is None or not isinstance(story.best.get(name), int | float):
        return []
    label = f"best: {wording.score(name, story.best[name])} at step {story.best['step']:,}"
    return [Line(label, "mark", [story.best["step"]], [story.best[name]], star=True)]


def _metric_axis(name: str, lines: list[Line]) -> set[str]:
    """Return the flags of a metric's axis: from zero, or logarithmic where a distance spans decades."""
    unit = METRICS[name].unit if name in METRICS else ""
    if unit in ("fraction", "probability"):
        return {"percent", "zero"}
    values = [value for line in lines for value in line.values]
    decades = unit not in ("classes", "modes") and min(values, default=0) > 0 and max(values) > 20 * min(values)
    return {"log"} if decades else {"zero"}


def _metric_caption(name: str) -> str:
    known = METRICS.get(name)
    if known is None:
        return "A number measured of the generated samples."
    summary = known.summary
    for other in METRICS:
        summary = summary.replace(other, wording.title(other)) if "_" in other else summary
    words = escape(f"{summary[0].upper()}{summary[1:]}")
    paper = f" ({wording.linked(known.paper)})" if known.paper else ""
    return f"{words}{paper}. {known.better.capitalize()} is better."


def _loss_agreement(story: Story, name: str) -> str:
    """Say how far the losses followed the metric over this run: the lectures' claim, on the user's own numbers."""
    pairs = [(row[name], _nearest(story.logs, row["step"])) for row in story.evaluations if row.get(name) is not None]
    told = []
    for key, player in (("D/loss", "D’s"), ("G/loss", "G’s")):
        both = [(score, row[key]) for score, row in pairs if row is not None and isinstance(row.get(key), int | float)]
        if len(both) >= 8:
            try:
                told.append(
                    f"{correlation(*map(list, zip(*both, strict=True))):+.2f} with {player} loss".replace("-", "−")
                )
            except StatisticsError:  # one of them never changed
                continue
    if not told:
        return ""
    agreement = " and ".join(told)
    return f" Its correlation over this run is {agreement}; 0 means that the loss says nothing about it."


def _nearest(rows: list[Event], step: int) -> Event | None:
    return min(rows, key=lambda row: abs(row["step"] - step), default=None)


def _class_chart(story: Story) -> Chart | None:
    rows = [row for row in story.evaluations if sum(row.get("histogram") or ()) > 0]
    if not rows:
        return None
    rows = wording.evenly(rows, 200)
    names, fair = story.class_names, 1 / len(story.class_names)
    shares = [[_short(row["histogram"][index] / sum(row["histogram"])) for row in rows] for index in range(len(names))]
    heat = {
        "steps": [row["step"] for row in rows],
        "names": names,
        "shares": shares,
        "most": min(1.0, 3 * fair),
        "every": math.ceil(len(names) / 25),
    }
    kind = "mode" if story.in_plane else "class"
    counted = "channels of the generated samples" if story.stacked else "generated samples"
    caption = (
        f"Which share of the {counted} falls to each {kind}, from pale (none) to full colour (three times its "
        f"fair share of {wording.percent(fair)}, or more). Even rows are good. A pale row is a {kind} that G leaves out; "
        "one strong row and many pale ones are mode collapse."
    )
    title = "Modes over time" if kind == "mode" else "Classes over time"
    protocol = str(rows[-1].get("protocol") or "")
    return Chart("classes", title, escape(caption), heat=heat, protocol=protocol, flags=frozenset({"wide"}))
