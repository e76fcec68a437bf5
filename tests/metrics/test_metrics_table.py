from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sparring.metrics import METRICS, Metric


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert 20 < len(metric.summary) < 120
    assert metric.paper is None or re.fullmatch(r"arXiv:\d{4}\.\d{5}", metric.paper)
    assert metric.better in ("lower", "higher")
    assert metric.needs in ("extractor", "modes")
    assert metric.unit


def test_the_table_needs_no_torch() -> None:
    code = "import sys, sparring.metrics; sys.exit(bool({'torch', 'PIL', 'plotly', 'pooch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
