"""Runs beside each other: only what was measured in the same way may be compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sparring.comparison import Comparison, compare, curves
from sparring.errors import UsageError
from sparring.metrics.estimate import Estimate
from sparring.metrics.protocol import Protocol
from sparring.runs import RunDirectory, create_run
from sparring.scores import Score, scores_of, store_scores, stored_scores

FD = Protocol("fd", 1, "digits-v1", "0d86a89f", "u8", 2000, 2000, "digits", "held-out", "c189659a", 1, "ema")


def a_run(out: Path, course: list[tuple[int, float]] = (), protocol: Protocol = FD) -> RunDirectory:  # type: ignore[assignment]
    """Return a run that was evaluated at (step, fd)."""
    run = create_run(out, "digits-test", {"data": "digits"})
    with run.events_file.open("w") as log:
        for step, fd in course:
            row: dict[str, Any] = {"event": "eval", "step": step, "images": 64 * step, "fd": fd, "class_kl": fd / 100}
            row |= {"intervals": {"fd": [fd - 1, fd + 1]}, "protocol": protocol.short()}
            log.write(json.dumps(row) + "\n")
    if course:
        best = min(course, key=lambda point: point[1])[0]
        run.checkpoint_dir(best).mkdir(parents=True)
        run.best_file.write_text(f"{best:08d}\n")
    return run


def score(value: float, protocol: Protocol = FD, step: int = 30) -> Score:
    return Score(protocol.metric, Estimate(value, value - 0.5, value + 0.5, "bootstrap 1000"), protocol, step)


def test_runs_are_compared_by_their_best_checkpoints(tmp_path: Path) -> None:
    first = a_run(tmp_path, [(10, 9.0), (20, 5.0), (30, 6.0)])
    second = a_run(tmp_path, [(10, 7.0), (20, 8.0)])
    found = compare([first.path, second.path])
    assert found.metrics == ("fd", "class_kl")
    assert [float(scores["fd"].value) for scores in found.scores] == [5.0, 7.0]
    assert (found.scores[0]["fd"].value.low, found.scores[0]["fd"].step) == (4.0, 20)
    assert found.best("fd") == 0
    assert found.scores[1]["class_kl"].protocol == FD.of("class_kl")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_generated": 500}, "the number of generated samples is 2000 for one and 500 for the other"),
        (
            {"extractor": "inception", "weights_sha256": "6726825d"},
            "the feature extractor is digits-v1 for one and inception",
        ),
        ({"split": "train"}, "the part of the real data is held-out for one and train"),
        ({"data_sha256": "00000000"}, "the content of the real data"),
        ({"latent_seed": 2}, "the seed of the latents is 1 for one and 2"),
    ],
)
def test_different_protocols_are_refused_with_what_differs(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    from dataclasses import replace

    first, second = a_run(tmp_path, [(10, 9.0)]), a_run(tmp_path, [(10, 9.0)], replace(FD, **change))
    with pytest.raises(UsageError) as error:
        compare([first.path, second.path])
    assert said in str(error.value)
    assert first.name in str(error.value)


def test_evaluated_in_the_same_way_they_may_be_compared_after_all(tmp_path: Path) -> None:
    """Training measured them differently; sparring evaluate measured both in one way."""
    from dataclasses import replace

    first, second = a_run(tmp_path, [(10, 9.0)]), a_run(tmp_path, [(10, 8.0)], replace(FD, n_generated=500))
    large = replace(FD, n_generated=10_000)
    store_scores(first, [score(4.0, large)])
    store_scores(second, [score(3.0, large)])
    found = compare([first.path, second.path], ["fd"])
    assert [float(scores["fd"].value) for scores in found.scores] == [4.0, 3.0]
    assert found.scores[0]["fd"].protocol == large


def test_a_metric_that_one_run_lacks_is_left_out_or_asked_for(tmp_path: Path) -> None:
    first, second = a_run(tmp_path, [(10, 9.0)]), a_run(tmp_path, [(10, 8.0)])
    store_scores(first, [score(0.1, FD.of("kd"))])
    assert "kd" not in compare([first.path, second.path]).metrics
    with pytest.raises(UsageError, match=f"not measured of .*{second.name}; run sparring evaluate"):
        compare([first.path, second.path], ["kd"])


WRONG = [
    ([], "name two or more"),
    (["one"], "name two or more"),
    (["one", "none"], "is not a run directory"),
    (["one", "empty"], "has no scores yet; measure it with sparring evaluate"),
]


@pytest.mark.parametrize(("names", "said"), WRONG, ids=[" ".join(names) for names, _ in WRONG])
def test_wrong_input_is_one_sentence(tmp_path: Path, names: list[str], said: str) -> None:
    (tmp_path / "none").mkdir()
    paths = {"one": a_run(tmp_path, [(10, 9.0)]).path, "empty": a_run(tmp_path).path, "none": tmp_path / "none"}
    with pytest.raises(UsageError, match=said):
        compare([paths[name] for name in names])


def test_an_unknown_metric_is_named(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, [(10, 9.0)]).path for _ in range(2)]
    with pytest.raises(UsageError, match="--metrics: unknown name 'fdd'; did you mean 'fd'"):
        compare(runs, ["fdd"])


def test_stored_scores_come_back_and_replace_their_like(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    nan = Score("kd", Estimate(math.nan), FD.of("kd"), 30)
    store_scores(run, [score(4.0), nan])
    store_scores(run, [score(3.0), score(2.0, step=40)])
    kept = stored_scores(run)
    assert [(s.metric, s.step) for s in kept] == [("kd", 30), ("fd", 30), ("fd", 40)]
    assert math.isnan(kept[0].value)
    assert (kept[1], kept[1].value.high, kept[1].value.interval) == (score(3.0), 3.5, "bootstrap 1000")
    assert "NaN" not in run.scores_file.read_text()
    assert scores_of(run)[0].step == 40


def test_a_damaged_file_of_scores_is_named(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.scores_file.write_text('[{"metric": "fd"}]')
    with pytest.raises(UsageError, match=r"scores.json is damaged; remove it"):
        stored_scores(run)


def comparison(tmp_path: Path, *courses: list[tuple[int, float]]) -> Comparison:
    return compare([a_run(tmp_path, course).path for course in courses])


def test_the_chart_shows_the_course_or_else_the_intervals(tmp_path: Path) -> None:
    course = curves(comparison(tmp_path, [(10, 9.0), (20, 5.0)], [(10, 7.0), (20, 6.0)]))[0]
    assert [curve.y for curve in course.curves] == [(9.0, 5.0), (7.0, 6.0)]
    assert course.curves[0].x == (640, 1280)
    (dots, *ends) = curves(comparison(tmp_path, [(10, 9.0), (20, 5.0)], [(10, 7.0)]))[0].curves
    assert dots.y == (5.0, 7.0)
    assert [end.y for end in ends] == [(4.0, 6.0), (6.0, 8.0)]
