"""``sparring evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sparring.evaluation import Evaluation


def evaluate(
    source: str,
    /,
    *,
    against: str | None = None,
    metrics: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    features: str | None = None,
    n: Annotated[int | None, Parameter(name=["-n", "--number"])] = None,
    seed: int = 1,
    split: str | None = None,
    test: str | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
    pairs: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name=["--json", "--json-file"])] = None,
) -> int:
    """Measure a generator, or a folder of images, against real data: every number with its interval and its protocol.

    The scores of a run are kept in it, for sparring compare.

    Args:
        source: A run directory, a checkpoint, a folder or zip of images, a .npy or .csv file, or a data set.
        against: Real data: a data set, a folder, a zip, a .npy or .csv file; the run's own data if left out.
        metrics: Families of metrics (sparring list families), separated by spaces or commas, or all; fd, kd, prdc, modes and
            memorization if left out.
        features: The feature extractor (sparring list extractors); the one that knows the data if left out.
        n: Generated samples; 10,000 of a generator and all of a folder if left out.
        seed: Of the latents.
        split: Compare with held-out or train images; held-out where there are any.
        test: Labelled real images that no generator has seen, for gain and cas of a labelled folder; cas takes what is held
            out of --against if left out.
        data_root: Folder that holds data sets already downloaded.
        device: Where the generator computes.
        pairs: A .png file for the samples most like training images; copies.png in the run directory if left out.
        json_file: Where to write every number with its protocol.
    """
    from sparring import evaluation
    from sparring.cli.console import wide_console
    from sparring.runs import storage_error

    asked = [name for word in metrics or () for name in word.split(",") if name]
    found = evaluation.evaluate(
        source,
        against,
        metrics=asked,
        features=features,
        n=n,
        seed=seed,
        split=split,
        test=test,
        data_root=data_root,
        device=device,
    )
    console = wide_console()
    _print(console, found)
    try:
        _keep(console, found, pairs, json_file)
    except OSError as error:
        raise storage_error("the evaluation", Path(error.filename or "."), error) from None
    return 0


def _keep(console: Console, found: Evaluation, pairs: Path | None, json_file: Path | None) -> None:
    """Write the scores and the pairs into the run, or where they were asked for."""
    from sparring.scores import store_scores

    run = found.subject.run
    if run is not None:
        store_scores(run, found.scores)
        console.print(f"kept     {run.scores_file}")
    where = pairs or (run.path / "copies.png" if run is not None else None)
    if found.pairs is not None and where is not None:
        _save_pairs(found, where)
        console.print(f"pairs    {where}: samples above, the training images nearest to them below")
    if json_file is not None:
        text = json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n"
        json_file.write_text(text, encoding="utf-8")


def _print(console: Console, found: Evaluation) -> None:
    console.print(_table(found))
    for protocol in dict.fromkeys(_without_metric(score.protocol.short()) for score in found.scores):
        console.print(f"protocol {protocol}", markup=False)
    if found.copying is not None:
        console.print(f"verdict  {_verdict(found)}")


def _table(found: Evaluation) -> Table:
    from rich.table import Table

    from sparring.cli.compare import with_interval
    from sparring.metrics import METRICS

    table = Table(title=found.subject.origin, box=None, pad_edge=False, title_justify="left")
    for title in ("metric", "value (95 % interval)", "better", "unit", "interval by"):
        table.add_column(title, no_wrap=True)
    for score in found.scores:
        row = METRICS[score.metric]
        table.add_row(score.metric, with_interval(score.value), row.better, row.unit, score.value.interval or "–")
    return table


def _without_metric(line: str) -> str:
    return line[line.index("[") :]


def _verdict(found: Evaluation) -> str:
    assert found.copying is not None
    copied, chance = found.copying.copied, found.copying.copied_real
    if found.copying.verdict == "copies":
        return (
            f"it copies training samples: {copied:.1%} of its samples are copies, {chance:.1%} of real ones would be by chance; "
            "look at the pairs, train for less time or on more data, or use --augment"
        )
    if found.copying.verdict == "single copies":
        return f"single samples are copies: {copied:.2%} of them look like one; look at the first of the pairs"
    return f"no copying found: {copied:.1%} of its samples look like copies, {chance:.1%} of real ones by chance"


def _save_pairs(found: Evaluation, path: Path) -> None:
    from sparring.pictures import save_png

    save_png(found.pairs, path, f"{found.subject.origin}: pairs of generated and training images")
