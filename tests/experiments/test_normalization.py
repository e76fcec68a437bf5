"""T10: whose company a sample keeps."""

from __future__ import annotations

import pytest

from sparring.experiments.normalization import company


@pytest.mark.parametrize("seed", [0, 1])
def test_company_matters_in_training_only(seed: int) -> None:
    finding = company(seed, warm_up=20)
    assert finding.holds, finding.sentence
    for _, training, evaluation in finding.rows:
        assert training > 0.01
        assert evaluation < 1e-12
