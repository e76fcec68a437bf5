"""The charts of a run without D: how likely G makes the data, and what that is made of."""

from __future__ import annotations

from html import escape

from sparring.report.charts import Chart, curve, thin
from sparring.report.story import Story
from sparring.runs import Event


def likelihood_charts(story: Story) -> list[Chart]:
    """Return the charts of a run in which G plays alone; those without a value are left out."""
    rows = thin(story.logs)
    charts = [_bits_chart(story, rows), _parts_chart(rows), _gradient_chart(rows)]
    return [chart for chart in charts if not chart.empty]


def _bits_chart(story: Story, rows: list[Event]) -> Chart:
    caption = (
        "Bits that the model needs, on average, for one number of a training sample (a channel of a pixel). A model that knows "
        "nothing needs 8, for 256 levels. Lower is better, and only numbers of the same data at the same size may be compared."
    )
    watch = f" {story.network.watch}" if story.network else ""
    return Chart(
        "bits", "Bits per dimension", escape(caption + watch), (curve(rows, "G/bits_per_dim", "bits/dim", "g"),)
    )


def _parts_chart(rows: list[Event]) -> Chart:
    caption = (
        "The bound has two parts, here in nats per dimension: what it takes to tell x when z is known, and how far q(z|x) is "
        "from the prior, which is what it takes to tell z."
    )
    lines = (curve(rows, "G/reconstruction", "reconstruction", "p0"), curve(rows, "G/kl", "KL from the prior", "p1"))
    return Chart("parts", "The parts of the bound", escape(caption), lines, flags=frozenset({"zero"}))


def _gradient_chart(rows: list[Event]) -> Chart:
    caption = "The length of G’s gradient, on a logarithmic axis. Growing spikes call for a lower --g.lr or for --g.clip-grad."
    lines = (curve(rows, "G/grad_norm", "G’s gradient", "g"),)
    return Chart("gradients", "Gradient norm", escape(caption), lines, flags=frozenset({"log"}))
