"""The page: its sections, put into the template with style, script, charts and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Any

from sparring.metrics import METRICS
from sparring.report import pictures, wording
from sparring.report.charts import MOST_POINTS, Chart, game_charts, metric_charts
from sparring.report.likelihood import likelihood_charts
from sparring.report.settings import settings
from sparring.report.story import Grid, Story
from sparring.runs import Event
from sparring.version import __version__

_STRIP = 10  # grids in the timeline
_MOST_TROUBLES = 50  # listed one by one


def render(story: Story) -> str:
    """Return the page.

    Args:
        story: the run.

    Returns:
        HTML with everything inside.
    """
    from plotly.offline import get_plotlyjs

    game = game_charts(story) if "D" in story.players else likelihood_charts(story)
    scores = metric_charts(story)
    strip, frames = _timeline(story)
    sections = (
        _section("game", _game(story, game)),
        _section("results", _results(story, scores)),
        _section("timeline", strip),
        _section("trouble", _trouble(story)),
        _section("configuration", settings(story) + _glossary()),
    )
    return Template(_part("page.html")).substitute(
        version=escape(__version__),
        title=escape(story.run.name),
        style=_part("report.css"),
        header=_header(story),
        sections="\n".join(sections),
        charts=wording.embedded([chart.spec() for chart in (*game, *scores)]),
        frames=wording.embedded(frames),
        plotly=get_plotlyjs(),
        script=_part("report.js"),
    )


def _part(name: str) -> str:
    return (resources.files("sparring") / "report" / "template" / name).read_text(encoding="utf-8")


def _section(key: str, content: str) -> str:
    heading = f'<h2 id="{key}-title">{_SECTIONS[key]}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">{heading}{content}</section>'


def _state(story: Story) -> tuple[str, str, str]:
    """Return the state's colour, its name, and the sentence about it."""
    done = f"step {story.step:,}" + ("" if story.total_steps is None else f" of {story.total_steps:,}")
    if story.divergence is not None:
        return "bad", "diverged", f"It gave up at {done}: {story.divergence}."
    if story.total_steps is not None and story.step >= story.total_steps:
        return "good", "finished", f"All {story.total_steps:,} steps were played."
    if story.stopped:
        return "warn", "stopped", f"It was stopped at {done}; the same command again goes on from there."
    return "warn", "not ended", f"It was last heard of at {done}: still running, or cut off without a word."


def _header(story: Story) -> str:
    colour, state, sentence = _state(story)
    figure = _hero_figure(story)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in _facts(story))
    return (
        f'<header class="hero{"" if figure else " alone"}"><div><p class="eyebrow">sparring · report of a run</p>'
        f"<h1>{escape(story.run.name)}</h1>"
        f'<p class="lead"><span class="badge {colour}">{state}</span> {escape(sentence)}</p>'
        f'{_score_tiles(story)}<dl class="facts">{facts}</dl></div>{figure}</header>'
        '<nav aria-label="Sections"><ul>'
        + "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in _SECTIONS.items())
        + "</ul></nav>"
    )


_SECTIONS = {
    "game": "The game",
    "results": "What came out",
    "timeline": "The same z, over time",
    "trouble": "Trouble",
    "configuration": "Configuration",
}


def _hero_figure(story: Story) -> str:
    """Show the grid of the best step, or the nearest there is; the last one when nothing was scored."""
    if not story.grids:
        return ""
    wanted = story.best["step"] if story.best else story.grids[-1].step
    grid = min(story.grids, key=lambda grid: (abs(grid.step - wanted), -grid.step))
    uri = pictures.data_uri(grid.path)
    if uri is None:
        return ""
    scored = "the best step" if grid.step == wanted else f"drawn nearest to the best step, {wanted:,}"
    why = "the last ones drawn" if story.best is None else scored
    caption = f"Samples of step {grid.step:,} ({why}). Synthetic: made by the generator."
    picture = pictures.image_tag(grid, uri, wording.alt(story, grid))
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _score_tiles(story: Story) -> str:
    if story.best is None:
        return ""
    tiles = []
    for name in (name for name in story.metrics if name in story.best):
        value = wording.score(name, story.best[name])
        count = story.mode_count if METRICS.get(name) and METRICS[name].unit in ("classes", "modes") else 0
        real = story.floor.get(name)
        notes = [f"of {count:,}"] if count else []
        if real is not None and (not count or real < count):  # few real samples do not cover every mode, either
            notes.append(f"real data: {wording.score(name, real)}")
        note = "; ".join(notes)
        tiles.append(
            f"<li><b>{escape(value)}</b><span>{escape(wording.title(name))}</span><small>{escape(note)}</small></li>"
        )
    return f'<ul class="scores" aria-label="Scores of the best checkpoint">{"".join(tiles)}</ul>'


def _facts(story: Story) -> list[tuple[str, str]]:
    """Return what, when, how fast, and on which machine; what is not known is left out."""
    facts = [("Data", str(story.values.get("data", "unknown"))), ("Preset", str(story.values.get("preset", "unknown")))]
    images = max((row.get("images") or 0 for row in story.events), default=0)
    if images:
        facts.append(("Played", wording.place(story, images)))
    if story.best is not None:
        facts.append(("Best checkpoint", f"step {story.best['step']:,}, by {wording.title(story.metrics[0])}"))
    if story.sessions:
        facts += _clock_facts(story)
    return facts


def _clock_facts(story: Story) -> list[tuple[str, str]]:
    sessions = story.sessions
    begun = datetime.fromtimestamp(sessions[0][0]["time"], UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    facts = [
        ("Begun", begun),
        ("Took", wording.duration(story.seconds) + (f", in {len(sessions)} sessions" if len(sessions) > 1 else "")),
    ]
    rate = _images_per_second(sessions)
    if rate is not None:
        facts.append(("Speed", f"{wording.number(rate)} images/s, samples and evaluations included"))
    machine = list(story.machine.values())
    return facts + ([("Machine", " · ".join(machine))] if machine else [])


def _images_per_second(sessions: list[list[Event]]) -> float | None:
    """Return the mean speed between the first and the last row of each session's log."""
    images, seconds = 0, 0.0
    for session in sessions:
        rows = [event for event in session if event["event"] == "rate"]
        if len(rows) > 1:
            images += rows[-1]["images"] - rows[0]["images"]
            seconds += rows[-1]["time"] - rows[0]["time"]
    return images / seconds if seconds > 0 else None


def _cards(charts: Iterable[Chart]) -> str:
    cards = "".join(chart.html() for chart in charts)
    excuse = "<noscript><p>The charts need JavaScript, which is switched off.</p></noscript>"
    return f'{excuse}<div class="charts">{cards}</div>'


def _game(story: Story, charts: list[Chart]) -> str:
    if not charts:
        off = story.config is not None and story.config.log_every == 0
        reason = "the log was switched off (--log-every 0)" if off else "the run ended before the first row of its log"
        return f"<p>There are no curves: {reason}.</p>"
    averaged = (
        " Each point is the mean of its neighbours: the log has more rows than a chart can show."
        if len(story.logs) > MOST_POINTS
        else ""
    )
    return (
        f'<p class="lead">{_TWO_PLAYERS if "D" in story.players else _ONE_PLAYER} The number in each legend is the last '
        f"value.{averaged}</p>{_cards(charts)}"
    )


_TWO_PLAYERS = (
    'Two players: <span class="d">D, the discriminator</span>, tells real samples from generated ones; '
    '<span class="g">G, the generator</span>, makes them from noise z and tries to pass.'
)
_ONE_PLAYER = (
    'One player: <span class="g">G, the generator</span>, learns to make the data likely. Nobody plays against it, so '
    "there is no balance to keep and no loss that rises when another gets better."
)


def _results(story: Story, charts: list[Chart]) -> str:
    if not charts:
        return f"<p>{escape(_why_no_scores(story))}</p>"
    return (
        '<p class="lead">What the samples themselves are worth, measured again and again in the same way. Only numbers '
        f"with the same protocol line may be compared.</p>{_cards(charts)}{_score_table(story)}"
    )


def _why_no_scores(story: Story) -> str:
    config = story.config
    if story.evaluations:
        return "The generator was evaluated, but no score was finite."
    if config is not None and config.eval_every == 0:
        return "There are no evaluations: they were switched off (--eval-every 0)."
    if config is not None and story.step < min(config.eval_every, story.total_steps or config.eval_every):
        return f"There are no evaluations: the run ended at step {story.step:,}, before its first one."
    if story.floor:
        return "There are no evaluations in the log."
    return (
        "There are no evaluations: no feature extractor knows this data and it has no known modes; look at the samples."
    )


def _score_table(story: Story) -> str:
    """Return all scores as a table, for reading and for those who cannot see the charts."""
    rows = [_score_row(story, row) for row in wording.evenly(story.evaluations, 60)]
    if story.floor:
        rows.insert(0, _score_row(story, story.floor))
    head = "".join(f'<th scope="col" class="number">{escape(wording.title(name))}</th>' for name in story.metrics)
    head = f'<thead><tr><th scope="col">evaluation</th>{head}</tr></thead>'
    table = f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
    return f'<details><summary>The numbers</summary><div class="scroll" tabindex="0">{table}</div></details>'


def _score_row(story: Story, row: Event) -> str:
    best = " ★" if row is story.best else ""
    name = "real data" if row is story.floor else f"step {row['step']:,}{best}"
    shown = (wording.score(metric, row[metric]) if metric in row else "–" for metric in story.metrics)
    cells = "".join(f'<td class="number">{escape(cell)}</td>' for cell in shown)
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _timeline(story: Story) -> tuple[str, list[dict[str, Any]]]:
    """Return the content of the section of the sample grids, and all grids for its slider."""
    grids = pictures.affordable(story.grids)
    uris = {grid.step: uri for grid in grids if (uri := pictures.data_uri(grid.path)) is not None}
    grids = [grid for grid in grids if grid.step in uris]
    if not grids:
        return "<p>There are no sample grids: none was drawn, or none can be read.</p>", []
    shown = wording.evenly(grids, _STRIP)
    frames = [
        {
            "step": grid.step,
            "title": f"Step {grid.step:,}",
            "more": " · ".join(wording.moments(story, grid)),
            "alt": wording.alt(story, grid),
            "src": None if grid in shown else uris[grid.step],
        }
        for grid in grids
    ]
    strip = "".join(_strip_item(story, grid, uris[grid.step]) for grid in shown)
    return f'{_timeline_words(story, grids)}{_player(grids)}<ol class="strip">{strip}</ol>', frames


def _timeline_words(story: Story, grids: list[Grid]) -> str:
    words = "Every grid is drawn from the same latents z, so what changes from one to the next is G alone."
    if len(grids) < len(story.grids):
        words += f" The slider has {len(grids)} of the run’s {len(story.grids)} grids, evenly spaced."
    staged = any(len(wording.moments(story, grid)) > 1 for grid in grids)
    stages = (
        "The stages are named by epoch as the lectures name them for their case study on MNIST: initial chaos (1–5), "
        "emerging structure (5–15), refinement (15–30), fine details (30 and more). Other data keep another pace."
    )
    return f'<p class="lead">{words}</p>' + (f'<p class="caption">{stages}</p>' if staged else "")


def _player(grids: list[Grid]) -> str:
    """Return the slider over all grids; it appears where scripts run."""
    if len(grids) < 2:
        return ""
    picture = pictures.image_tag(grids[-1], None, "")
    buttons = "".join(
        f'<button type="button" class="{name.lower()}">{name}</button>' for name in ("Back", "Play", "Next")
    )
    return (
        f'<div class="player" id="player" hidden>{picture}<div><p class="now"></p><p class="more muted"></p>'
        '<label for="slider">Move through the run</label>'
        f'<input type="range" id="slider" min="0" max="{len(grids) - 1}" step="1" value="0">'
        f'<div class="buttons">{buttons}</div></div></div>'
    )


def _strip_item(story: Story, grid: Grid, uri: str) -> str:
    when = "<br>".join(map(escape, wording.moments(story, grid)))
    image = pictures.image_tag(grid, uri, wording.alt(story, grid), f' id="grid-{grid.step}"')
    caption = f"<figcaption><strong>Step {grid.step:,}</strong>{when}</figcaption>"
    return f"<li><figure>{image}{caption}</figure></li>"


def _trouble(story: Story) -> str:
    warnings = [event for event in (*story.events, *story.clock) if event["event"] == "warning"]
    troubles = [*_skips(story), *_lost_numbers(story)]
    troubles += [f"{_at(event)}{event.get('text') or 'a warning without words'}" for event in warnings]
    troubles += [f"Left out of the data: {problem}." for problem in story.left_out]
    if not troubles:
        return "<p>None: no turn was skipped, every number is finite, every file of the data was used, nothing was warned of.</p>"
    items = "".join(f"<li>{escape(trouble)}</li>" for trouble in troubles[:_MOST_TROUBLES])
    rest = len(troubles) - _MOST_TROUBLES
    more = f"<p>… and {rest} more.</p>" if rest > 0 else ""
    return f'<ul class="trouble">{items}</ul>{more}'


def _at(event: Event) -> str:
    return f"Step {event['step']:,}: " if isinstance(event.get("step"), int) else ""


def _skips(story: Story) -> list[str]:
    told = []
    for player in sorted(story.players):
        steps = [event["step"] for event in story.kind("skipped") if event.get("player") == player]
        if steps:
            reason = next(event for event in story.kind("skipped") if event.get("player") == player).get("reason")
            span = f"at step {steps[0]:,}" if steps[0] == steps[-1] else f"between steps {steps[0]:,} and {steps[-1]:,}"
            turns = "1 turn" if len(steps) == 1 else f"{len(steps):,} turns"
            told.append(f"{turns} of {player} left out {span}: {reason}. The weights stayed as they were.")
    return told


def _lost_numbers(story: Story) -> list[str]:
    steps: dict[str, list[int]] = {}
    for event in story.events:
        for name in event.get("non_finite") or ():
            steps.setdefault(str(name), []).append(int(event.get("step") or 0))
    return [
        f"{name} was not finite in {len(at):,} row{'s' if len(at) > 1 else ''}, first at step {at[0]:,}."
        for name, at in steps.items()
    ]


_TERMS = (
    ("step", "one turn of G, after one or more turns of D."),
    ("epoch", "one pass over the training data."),
    ("z", "the noise that G makes a sample from."),
    ("logit", "D’s raw output; larger means more real."),
    (
        "Fréchet distance",
        "how far the features of generated samples, as a whole, are from those of held-out real ones.",
    ),
    ("KL", "Kullback–Leibler divergence, in nats; 0 when two distributions are equal."),
    ("EMA", "the averaged copy of G that samples and scores come from."),
)


def _glossary() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in _TERMS)
    return f'<details><summary>Words used here</summary><dl class="glossary">{terms}</dl></details>'
