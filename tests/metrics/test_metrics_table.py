from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sparring.metrics import FAMILIES, METRICS, Metric, family_of


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert 20 < len(metric.summary) < 120
    assert metric.paper is None or re.fullmatch(r"arXiv:\d{4}\.\d{5}", metric.paper)
    assert metric.better in ("lower", "higher", "zero")
    assert metric.family in FAMILIES
    assert metric.unit


def test_the_table_needs_no_torch() -> None:
    code = "import sys, sparring.metrics; sys.exit(bool({'torch', 'PIL', 'plotly', 'pooch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_families_have_metrics_and_other_names() -> None:
    assert {metric.family for metric in METRICS.values()} == set(FAMILIES)
    assert (family_of("fid"), family_of("kid"), family_of("ppl"), family_of("prdc")) == ("fd", "kd", "path", "prdc")
    with pytest.raises(ValueError, match="unknown name 'fidd'; did you mean 'fid'"):
        family_of("fidd")
