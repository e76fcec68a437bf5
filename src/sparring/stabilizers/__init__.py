"""Stabilizers: one idea a file, each switched on by ``--stabilizer name`` or ``--stabilizer name:number:number``.

To add one, write ``stabilizers/<name>.py`` with a class of `Hooks` and its row of `STABILIZERS` here; the file is imported at
the first use only. A row without ``build`` changes the networks instead (see `sparring.networks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring.errors import unknown_name
from sparring.tables import Method

if TYPE_CHECKING:
    from sparring.stabilizers.hooks import Hooks, Setup

__all__ = ["STABILIZERS", "Setting", "Stabilizer", "parse_stabilizer"]


@dataclass(frozen=True)
class Setting:
    """One number of a stabilizer, given after its name and a colon.

    Attributes:
        name: what it is.
        default: its value where none is given.
        least: the smallest value allowed.
        most: the largest value allowed.
        whole: whether it must be a whole number.
    """

    name: str
    default: float
    least: float
    most: float
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Stabilizer(Method):
    """A row of `STABILIZERS`.

    Attributes:
        settings: its numbers, in the order in which they are given.
        build: numbers by name, and what it is built for -> the stabilizer at work; None where the networks carry it.
        example: what to train with it, and what it asks for beside it.
    """

    settings: tuple[Setting, ...] = ()
    example: str = "digits"
    build: Callable[[Mapping[str, float], Setup], Hooks] | None = None

    @property
    def usage(self) -> str:
        """What ``--stabilizer`` takes, with the defaults: ``"instance-noise:0.1:1"``."""
        return ":".join([self.name, *(f"{setting.default:g}" for setting in self.settings)])


def _instance_noise(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.instance_noise import InstanceNoise

    return InstanceNoise(numbers["sigma"], numbers["until"])


def _replay(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.replay import Replay

    return Replay(int(numbers["size"]), setup.shape)


def _unrolled(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.unrolled import Unrolled

    return Unrolled(int(numbers["steps"]))


def _feature_matching(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.feature_matching import FeatureMatching

    return FeatureMatching(numbers["weight"], setup.players["D"])


def _historical_averaging(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.historical_averaging import HistoricalAveraging

    return HistoricalAveraging(numbers["weight"], setup.players)


def _lecam(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.lecam import LeCam

    return LeCam(numbers["weight"], numbers["decay"])


def _top_k(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.top_k import TopK

    return TopK(numbers["floor"], numbers["gamma"])


def _importance(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.importance import Importance

    return Importance(int(numbers["candidates"]), numbers["correction"])


def _balance_loss(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.balance import BalanceLoss

    return BalanceLoss(numbers["ratio"], setup.loss, setup.labels)


def _balance_accuracy(numbers: Mapping[str, float], setup: Setup) -> Hooks:
    from sparring.stabilizers.balance import BalanceAccuracy

    return BalanceAccuracy(numbers["low"], numbers["high"], setup.loss)


_ROWS: tuple[Stabilizer, ...] = (
    Stabilizer(
        name="instance-noise",
        summary="Gaussian noise on all that D sees, real and fake, fading to nothing in the course of the run.",
        paper="Sønderby et al. 2016, Amortised MAP Inference, arXiv:1610.04490; "
        "Arjovsky and Bottou 2017, Towards Principled Methods for Training GANs, arXiv:1701.04862",
        formula="x + σ_t ε,  ε ~ N(0, I),  σ_t = σ max(0, 1 - progress / until)",
        when="When D tells real from fake without a mistake from the start, so that G has nothing to learn from.",
        watch="D's accuracy should come down from 1. Samples stay grainy while σ_t is large; they sharpen as it falls.",
        settings=(Setting("sigma", 0.1, 0.0, 10.0), Setting("until", 1.0, 0.001, 1.0)),
        build=_instance_noise,
    ),
    Stabilizer(
        name="replay",
        summary="Half of the fakes that D learns from are older ones, out of a buffer.",
        paper="Shrivastava et al. 2017, Learning from Simulated and Unsupervised Images, arXiv:1612.07828, §2.3",
        formula="x_fake = B/2 of G(z) and B/2 of the buffer; then B/2 of G(z) replace random ones of the buffer",
        when="When the two players run in circles: D forgets what it has seen, and G returns to old mistakes.",
        watch="The class histogram should stop moving from mode to mode. Too large a buffer keeps D busy with fakes long gone.",
        settings=(Setting("size", 1024, 1, 100_000, whole=True),),
        build=_replay,
    ),
    Stabilizer(
        name="unrolled",
        summary="G plays against the D of k steps later, and learns what its move changes in D's answer.",
        paper="Metz et al. 2017, Unrolled Generative Adversarial Networks, arXiv:1611.02163",
        formula="L_G(θ_G, θ_D^k),  θ_D^(i+1) = θ_D^i - step of D's optimizer on L_D(θ_G, θ_D^i),  ∂L_G/∂θ_G through all k steps",
        when="Against mode collapse with small networks: a G that gathers on one mode sees D follow it there.",
        watch="The class histogram, which should stop wandering. Each of the k steps costs as much time as one to "
        "five plain turns of G, and memory; not together with --penalty.",
        settings=(Setting("steps", 5, 0, 100, whole=True),),
        example="ring --preset minimax",
        build=_unrolled,
    ),
    Stabilizer(
        name="packing",
        summary="D judges m samples at a time (PacGAN), so that samples that are all alike are easy to tell.",
        paper="Lin et al. 2018, PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        formula="D(x_1, …, x_m) against D(G(z_1), …, G(z_m)): m samples joined along their channels; B / m logits",
        when="When G drops modes: the more samples a pack holds, the more a missing mode shows. 2 to 4 are usual.",
        watch="Modes found and the class histogram. D gets only B / m logits a turn, so give a larger batch with a larger m.",
        settings=(Setting("m", 2, 1, 16, whole=True),),
    ),
    Stabilizer(
        name="minibatch-discrimination",
        summary="D's last layer also reads how near each sample is to the others of its batch, by learnt kernels.",
        paper="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, §3.2",
        formula="M_i = f(x_i) T,  o(x_i)_b = Σ_{j≠i} exp(-‖M_ib - M_jb‖₁),  logit = w·[f(x_i), o(x_i)] + c",
        when="When G's samples are all alike, on batches up to about a hundred: time and memory grow with the batch's square.",
        watch="o is a sum over the batch, so keep its size. Without spread in the fakes D wins at once, and G's gradient fades.",
        settings=(Setting("kernels", 50, 1, 1000, whole=True), Setting("dims", 5, 1, 100, whole=True)),
    ),
    Stabilizer(
        name="minibatch-stddev",
        summary="D's last layer also reads how much the samples of a small group differ, as one number.",
        paper="Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, §3",
        formula="s = mean over features of √(Var over the group + 1e-8),  logit = w·[f(x), s] + c",
        when="Against samples that are all alike, at hardly any cost; it is part of ProGAN and StyleGAN.",
        watch="The spread of the samples. It does not tell which modes are missing, only that fakes differ too little.",
        settings=(Setting("group", 4, 2, 1024, whole=True),),
    ),
    Stabilizer(
        name="spectral-norm",
        summary="Every weight of D is divided by its largest singular value, which bounds D's slope.",
        paper="Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks, arXiv:1802.05957",
        formula="W_SN = W / σ(W),  σ(W) = max ‖W h‖ / ‖h‖ by one step of power iteration in each pass",
        when="With the hinge loss, --d.norm none and a D that needs a steady slope; it costs far less than a gradient penalty.",
        watch="D's logits may stay near 0 for long, because no layer can stretch: then give D a higher learning rate.",
    ),
    Stabilizer(
        name="feature-matching",
        summary="G also imitates the mean of D's features over the real samples.",
        paper="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, §3.1",
        formula="L_G + λ ‖E f(x) - E f(G(z))‖²,  f = what D's last layer reads  (the paper has it in place of L_G)",
        when="When G follows every whim of D: means of many features are a steadier aim than one logit.",
        watch="Its term beside the adversarial one in the log; it grows with the number of features, so lower the weight where "
        "it drowns the other. Batch norm in D evens out the very means that are compared: give --d.norm layer or none.",
        settings=(Setting("weight", 1.0, 0.0, 1e6),),
        build=_feature_matching,
    ),
    Stabilizer(
        name="historical-averaging",
        summary="Holds each player near the mean of its past parameters.",
        paper="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, §3.2",
        formula="L + λ ‖θ - 1/t Σ θ[i]‖²,  i = 1 … t: after every turn that the player has had",
        when="When the players circle round each other instead of settling: the mean of a circle lies inside it.",
        watch="Its term in the log, against the adversarial one. 0.01 is a gentle pull, a few hundredths of the gradient at "
        "most on ring and digits; at 1 both players move far more slowly.",
        settings=(Setting("weight", 0.01, 0.0, 1e6),),
        build=_historical_averaging,
    ),
    Stabilizer(
        name="lecam",
        summary="Holds D's logits on each side near the running mean of the other side.",
        paper="Tseng et al. 2021, Regularizing Generative Adversarial Networks under Limited Data, arXiv:2104.03310",
        formula="λ ( (D(x) - α_F)² + (D(G(z)) - α_R)² ),  α ← γ α + (1 - γ) mean D  on real (R) and on fake (F)",
        when="On a few hundred or thousand images, where D learns the data set by heart; it goes with augmentation.",
        watch="The distance between the logits of real and fake: it should settle, not grow. Near 0 the weight is too high.",
        settings=(Setting("weight", 0.3, 0.0, 1000.0), Setting("decay", 0.99, 0.0, 0.9999)),
        build=_lecam,
    ),
    Stabilizer(
        name="top-k",
        summary="G learns only from the fakes that D scores highest.",
        paper="Sinha et al. 2020, Top-k Training of GANs, arXiv:2002.06224",
        formula="L_G over the k highest D(G(z)) of a batch,  k = max(ν B, γ^epoch B)",
        when="When most samples are good and some are far off, over many epochs; it costs nothing.",
        watch="Recall and the class histogram: G may drop modes whose fakes score low. Then raise the floor.",
        settings=(Setting("floor", 0.5, 0.01, 1.0), Setting("gamma", 0.99, 0.0, 1.0)),
        build=_top_k,
    ),
    Stabilizer(
        name="importance",
        summary="G learns from latents drawn where it is steep, weighted so that the mean gradient stays the same, or not.",
        paper="Zhao and Zhang 2015, Stochastic Optimization with Importance Sampling, arXiv:1401.2753; "
        "Tanielian et al. 2020, Learning disconnected manifolds: a no GAN's land, arXiv:2006.04596; "
        "Schaul et al. 2016, Prioritized Experience Replay, arXiv:1511.05952",
        formula="B of K B latents by q_i ~ 0.9 ‖J_G(z_i)‖^½ + 0.1 of its mean;  L_G = mean of w_i ℓ(D(G(z_i))),  w_i ~ q_i^-β",
        when="When modes lie apart and samples are left over on the way from one to the next, with few dimensions of z.",
        watch="The share of good samples, which rises, and G's gradient norm, which falls. It costs 2 K B samples a turn.",
        settings=(Setting("candidates", 4, 2, 64, whole=True), Setting("correction", 1, 0.0, 1.0)),
        example="digits --g.norm none",
        build=_importance,
    ),
    Stabilizer(
        name="balance-loss",
        summary="Whose loss is far lower waits: D sits out while it is ahead, and plays once more while it is fooled.",
        paper="The lectures; see Goodfellow 2016, NIPS Tutorial: Generative Adversarial Networks, arXiv:1701.00160, §4.4",
        formula="L_D < ratio L_G: 0 turns of D;  L_D > L_G / ratio: k + 1;  else k  (running means, decay 0.9)",
        when="When one player wins for good and neither learning rates nor a penalty help.",
        watch="The log's accuracy: it should move about ½ … 0.9. A D that hardly ever plays needs a lower learning rate instead.",
        settings=(Setting("ratio", 0.5, 0.0, 1.0),),
        build=_balance_loss,
    ),
    Stabilizer(
        name="balance-accuracy",
        summary="D sits out while it is nearly always right, and plays once more while it is fooled.",
        paper="The lectures; see Goodfellow 2016, NIPS Tutorial: Generative Adversarial Networks, arXiv:1701.00160, §4.4",
        formula="accuracy > high: 0 turns of D;  accuracy < low: k + 1;  else k  (running mean, decay 0.9)",
        when="As balance-loss, with any loss: accuracy means the same everywhere.",
        watch="The log's accuracy should stay between the two bounds; held at the upper one, D is too strong for G.",
        settings=(Setting("low", 0.6, 0.0, 0.7), Setting("high", 0.9, 0.7, 1.0)),
        build=_balance_accuracy,
    ),
)

STABILIZERS: dict[str, Stabilizer] = {row.name: row for row in _ROWS}


def parse_stabilizer(spec: str) -> tuple[str, dict[str, float]]:
    """Split ``name:number:number``.

    Args:
        spec: for example ``"unrolled:5"``.

    Returns:
        The stabilizer's name and its numbers by name, defaults included.

    Raises:
        ValueError: the name is unknown, or a number is missing, too many or out of range.
    """
    name, *given = spec.split(":")
    if name not in STABILIZERS:
        raise ValueError(unknown_name("", name, STABILIZERS).removeprefix(": "))
    settings = STABILIZERS[name].settings
    if len(given) > len(settings):
        takes = f"{name}:{':'.join(setting.name for setting in settings)}" if settings else "no number"
        raise ValueError(f"'{spec}' has too many numbers: it takes {takes}")
    numbers = {setting.name: setting.default for setting in settings}
    for setting, text in zip(settings, given, strict=False):
        numbers[setting.name] = _number(spec, setting, text)
    return name, numbers


def _number(spec: str, setting: Setting, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not setting.least <= value <= setting.most or (setting.whole and value != int(value)):
        kind = "a whole number" if setting.whole else "a number"
        raise ValueError(f"'{spec}': {setting.name} is {kind} from {setting.least:g} to {setting.most:g}, not '{text}'")
    return value
