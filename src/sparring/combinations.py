"""Which settings do not go together, and why: what the mathematics forbids is refused, what it makes doubtful is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparring.losses import LOSSES, Labels, Loss
from sparring.networks import NETWORKS
from sparring.penalties import PENALTIES, Penalty

if TYPE_CHECKING:
    from sparring.config import TrainConfig


_TORCH_MOMENTUM = 0.1  # the default of the setting

#: What is of the game against D, and means nothing to a network that plays alone; beside them, ``burn_in.penalty``.
AGAINST_D = (
    *("loss", "penalty", "penalty_every", "stabilizer", "augment", "real_label", "fake_label"),
    *("d", "alternate", "equilibrium", "latents"),
)


def contradictions(config: TrainConfig) -> Iterator[str]:
    """Yield why a combination of settings is wrong, one sentence each, naming the flags."""
    yield from _opponent(config)
    yield from _architecture(config)
    loss, penalties = LOSSES[config.loss], [PENALTIES[name] for name in config.penalties]
    yield from _labels(config, loss)
    yield from _slope(config, loss, penalties)
    yield from _normalization(config, penalties)
    yield from _unrolling(config)
    yield from _balance(config, loss)
    yield from _groups(config)
    yield from _importance(config)
    yield from _without_effect(config)


def _opponent(config: TrainConfig) -> Iterator[str]:
    """A network that plays alone has nothing to do with the settings of the game against D, whatever their value."""
    if "D" in config.players:
        return
    given = [name for name in AGAINST_D if name in config.model_fields_set and name != "d"]
    given += [f"d.{name}" for name in config.d.model_fields_set if "d" in config.model_fields_set]
    given += ["burn_in.penalty"] if "penalty" in config.burn_in.model_fields_set else []
    for name in given:
        yield (
            f"--{name.replace('_', '-')}: the network '{config.network}' learns from the likelihood of the data and plays "
            "against no D, so this would do nothing; leave it out"
        )


def _architecture(config: TrainConfig) -> Iterator[str]:
    """What the network itself allows."""
    row = NETWORKS[config.network]
    if config.g_norm not in row.g_norms:
        allowed = " or ".join(row.g_norms)
        yield f"--g.norm {config.g_norm}: the network '{row.name}' would not be what it is with it; give --g.norm {allowed}"
    if row.prior not in (None, config.prior):
        yield f"--prior {config.prior}: the network '{row.name}' is made for z of the other prior; give --prior {row.prior}"


def _labels(config: TrainConfig, loss: Loss) -> Iterator[str]:
    if not loss.smoothable and config.labels != Labels():
        yield f"--real-label and --fake-label: the loss '{loss.name}' has no labels to smooth; leave them at 1 and 0"
    if config.real_label <= config.fake_label:
        yield f"--real-label {config.real_label:g} must be above --fake-label {config.fake_label:g}"
    if loss.name == "saturating" and config.fake_label != 0:
        yield (
            "--fake-label: with the saturating loss G would be pulled to the smoothed target; smooth only --real-label"
        )


def _slope(config: TrainConfig, loss: Loss, penalties: list[Penalty]) -> Iterator[str]:
    """A critic needs one bound on its slope, and only one."""
    by_penalty = [penalty for penalty in penalties if penalty.bounds_slope]
    by_spectrum = "spectral-norm" in config.stabilizers
    clipped = config.d.weight_clip is not None
    # Batch norm divides by the batch's spread, which undoes a bound on the weights' singular values.
    bounded = by_penalty or clipped or (by_spectrum and config.d_norm != "batch")
    if loss.lipschitz and not bounded:
        yield (
            f"--loss {loss.name} needs a bound on D's slope: give --penalty wgan-gp:10, --stabilizer spectral-norm "
            "with --d.norm none, or --d.weight-clip 0.01"
        )
    if len(by_penalty) > 1:
        names = " and ".join(penalty.name for penalty in by_penalty)
        yield f"--penalty {names} all hold D's slope at 1, in different places; give one of them"
    if by_penalty and clipped:
        yield f"--d.weight-clip and --penalty {by_penalty[0].name} both bound D's slope; give one of them"
    if by_spectrum and clipped:
        yield "--d.weight-clip: spectral norm divides the scale of the weights away, so clipping them means nothing; leave it out"


def _normalization(config: TrainConfig, penalties: list[Penalty]) -> Iterator[str]:
    if config.d_norm == "batch":
        for penalty in penalties:
            if penalty.per_sample_gradient:
                yield f"--penalty {penalty.name} is taken per sample, which batch normalization in D mixes: give --d.norm layer"
    if config.d_norm == "virtual":
        yield "--d.norm virtual: the reference batch would cost D a second pass in every turn; only G has it (--g.norm virtual)"
    for player, norm, settings in (("g", config.g_norm, config.g), ("d", config.d_norm, config.d)):
        if settings.norm_momentum != _TORCH_MOMENTUM and norm != "batch":
            yield f"--{player}.norm-momentum: there is no batch normalization in {player.upper()} (its norm is {norm})"


def _unrolling(config: TrainConfig) -> Iterator[str]:
    if not config.stabilizers.get("unrolled", {}).get("steps"):
        return
    if config.penalties:
        yield (
            f"--stabilizer unrolled and --penalty {config.penalty[0]}: a penalty inside the unrolled steps takes third "
            "derivatives, and without it G would look ahead at another game; give one of the two"
        )
    if config.d.weight_clip is not None:
        yield "--stabilizer unrolled and --d.weight-clip: the unrolled steps are not clipped; give one of the two"


def _balance(config: TrainConfig, loss: Loss) -> Iterator[str]:
    balancing = [name for name in config.stabilizers if name.startswith("balance-")]
    if len(balancing) > 1:
        yield f"--stabilizer {' and '.join(balancing)} both decide when D plays; give one of them"
    if balancing and config.alternate > 1:
        yield f"--alternate and --stabilizer {balancing[0]} both decide when D plays; give one of them"
    if "balance-loss" in balancing and not loss.positive:
        yield f"--stabilizer balance-loss: losses of '{loss.name}' can be negative, so they have no ratio; take balance-accuracy"


def _groups(config: TrainConfig) -> Iterator[str]:
    if config.batch_size % config.accumulate:
        yield f"--batch-size {config.batch_size} must be a multiple of --accumulate {config.accumulate}"
        return
    piece = config.batch_size // config.accumulate
    if piece % config.packing or piece < 2 * config.packing:
        yield (
            f"--stabilizer packing:{config.packing}: a batch of {piece} does not split into at least two packs; "
            f"give a --batch-size that is a multiple of {config.packing * config.accumulate}"
        )
        return
    if config.packing > 1 and config.latents == "spread":
        yield (
            f"--latents spread and --stabilizer packing:{config.packing}: D would tell packs of fakes by how evenly they are "
            "spread, since real packs are independent; give one of the two"
        )
    group = int(config.stabilizers.get("minibatch-stddev", {}).get("group", 1))
    if piece // config.packing % group:
        yield (
            f"--stabilizer minibatch-stddev:{group}: a batch of {piece // config.packing} does not split into groups of {group}"
        )


def _importance(config: TrainConfig) -> Iterator[str]:
    """What takes the fakes of G's turn for draws of the prior cannot have them drawn another way."""
    if "importance" not in config.stabilizers:
        return
    others = {
        "packing": "the weight of a pack is not defined",
        "unrolled": "D would look ahead at fakes that G does not make",
        "feature-matching": "the fakes' mean features would be those of steep places",
        "top-k": "both say which fakes G learns from",
        "balance-loss": "D would be measured at steep places",
        "balance-accuracy": "D would be measured at steep places",
    }
    for name in others.keys() & config.stabilizers.keys():
        yield f"--stabilizer importance and {name}: {others[name]}; give one of the two"


def _without_effect(config: TrainConfig) -> Iterator[str]:
    if config.penalty_every > 1 and not config.penalties:
        yield f"--penalty-every {config.penalty_every}: there is no penalty; give --penalty, or leave it out"
    if config.decay != "linear" and config.decay_from == 1:
        yield f"--decay {config.decay}: the rate never falls; give --decay-from 0.5, or leave it out"
    if config.patience and not config.eval_every:
        yield "--patience counts evaluations, but --eval-every is 0; give --eval-every 500"
    if config.equilibrium and not config.log_every:
        yield "--equilibrium counts rows of the log, but --log-every is 0; give --log-every 50"


def without_opponent(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of the game against D.

    Args:
        values: field -> value, nested as a config is written.
    """
    left = {name: value for name, value in values.items() if name not in AGAINST_D}
    if "burn_in" in left:
        left["burn_in"] = {name: value for name, value in left["burn_in"].items() if name != "penalty"}
    return left


def cautions(config: TrainConfig) -> Iterator[str]:
    """Yield what is allowed but doubtful in a combination of settings, one sentence each."""
    loss, stabilizers = LOSSES[config.loss], config.stabilizers
    if "spectral-norm" in stabilizers and config.d_norm == "batch":
        yield "spectral norm under batch normalization bounds nothing, because batch norm rescales: give --d.norm none"
    if "lecam" in stabilizers and loss.paired:
        yield f"lecam pulls logits to fixed levels, but the loss '{loss.name}' sees differences only; r1 and r2 are its penalties"
    if loss.lipschitz and config.d.betas[0] > 0:
        yield f"a Wasserstein critic is unstable with momentum (arXiv:1701.07875, §4): give --d.betas 0 {config.d.betas[1]:g}"
    if config.fake_label > 0:
        yield "smoothing the fakes' label rewards G where D already rejects it (arXiv:1606.03498, §3.4): one side is enough"
    if "importance" in stabilizers and config.mixes_samples:
        yield "with --stabilizer importance D's batch statistics in G's turn are those of steep places: give --d.norm layer"
    if config.accumulate > 1 and config.mixes_samples:
        yield "with --accumulate D's batch statistics are those of a piece of the batch, so the recipe changes a little"
    if config.d.steps >= 3 and loss.probability and not config.penalties:
        yield (
            f"--d.steps {config.d.steps} trains D close to its optimum, where the loss '{loss.name}' has hardly a gradient "
            "left (sparring theory T5): add --penalty r1:0.1"
        )
