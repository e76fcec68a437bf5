"""The players, layer by layer: output shapes, parameters and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparring.checkpoint import load_checkpoint
from sparring.config import TrainConfig
from sparring.errors import UsageError, unknown_name
from sparring.generator import find_checkpoint, stored_config
from sparring.networks import NETWORKS, named_players
from sparring.networks.likelihood import LikelihoodModel, LikelihoodPass
from sparring.randomness import randomness
from sparring.runs import RunDirectory
from sparring.session import plan_config

#: Shapes of the data sets that have a preset of their own.
_SHAPES: dict[str, tuple[int, ...]] = {
    "digits": (1, 28, 28),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "stacked-mnist": (3, 28, 28),
    "ring": (2,),
    "grid": (2,),
}
_OWN_IMAGES = ((3, 64, 64), (1, 28, 28))


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        name: its class.
        shape: of its output for one sample.
        parameters: how many it trains.
        flops: floating-point operations of its forward pass for one sample, two for a multiplication with addition.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    flops: int


def summarize(network: nn.Module, x: Tensor) -> list[LayerSummary]:
    """Run one sample through a network and note what each layer did.

    Args:
        network: the network; left as it was.
        x: ``[1, ...]``, an input.

    Returns:
        One row a layer, in the order of the computation.
    """
    # Spectral norm hangs its vectors under the layer that it changes; the layer stays one row.
    leaves = [
        (name, module)
        for name, module in network.named_modules()
        if ".parametrizations" not in name and all(child == "parametrizations" for child, _ in module.named_children())
    ]
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, given: object, output: Tensor) -> None:  # what it returned would be the new output
            shapes.setdefault(name, tuple(output.shape[1:]))

        return network.get_submodule(name).register_forward_hook(hook)

    was_training = network.training
    hooks = [note(name) for name, _ in leaves]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    counts, root = counter.get_flop_counts(), type(network).__name__
    return [
        LayerSummary(
            name=type(module).__name__.removeprefix("Parametrized"),
            shape=shapes[name],
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            flops=sum(counts.get(f"{root}.{name}", {}).values()),
        )
        for name, module in leaves
        if name in shapes
    ]


Players = dict[str, list[LayerSummary]]


def players_of_name(name: str, shape: tuple[int, ...] | None) -> tuple[str, Players]:
    """Summarize the players that a preset would build, or a network where no preset has its name.

    Args:
        name: a key of `sparring.presets.PRESETS` or `sparring.networks.NETWORKS`.
        shape: of one sample; that of the preset's own data set if None, or the first of 3×64×64 and 1×28×28 that fits.

    Returns:
        A title, and the rows of each player.

    Raises:
        UsageError: there is neither.
    """
    from sparring.presets import PRESETS

    if name not in PRESETS and name not in NETWORKS:
        raise UsageError(unknown_name("info", name, {*PRESETS, *NETWORKS}))
    if name not in PRESETS:
        own = {"width": None, "norm": None}
        kind, preset, settings = "network", "modern", {"network": name, "g": own, "d": own}
    else:
        kind, preset, settings = "preset", name, {}
    suits = PRESETS[preset].suits if preset in PRESETS else ()
    data = suits[0] if suits else "images"
    config = plan_config(data, preset, settings)
    if shape is None:
        shape = _SHAPES.get(data) or next(fit for fit in _OWN_IMAGES if NETWORKS[config.network].unfit(fit) is None)
        if config.resolution is not None:
            shape = (shape[0], config.resolution, config.resolution)
    return f"{kind} {name}", _players(config, shape)


def players_of_run(path: Path) -> tuple[str, Players]:
    """Summarize the players of a run or checkpoint.

    Args:
        path: a run directory or a checkpoint.

    Returns:
        A title, and the rows of each player.
    """
    checkpoint = find_checkpoint(path)
    config = stored_config(RunDirectory(checkpoint.parent.parent))
    state = load_checkpoint(checkpoint, set()).state
    title = f"run {checkpoint.parent.parent.name}, step {state['step']}, {state['images_seen']:,} images seen"
    return title, _players(config, tuple(state["shape"]))


def _players(config: TrainConfig, shape: tuple[int, ...]) -> Players:
    spec = config.network_spec(shape)
    networks = named_players(config.network, spec, randomness(0))
    G = networks["G"]
    if isinstance(G, LikelihoodModel):  # the pass that trains it visits every layer, and each once
        return {"G": summarize(LikelihoodPass(G), torch.zeros(1, *shape))}
    D = summarize(networks["D"], torch.zeros(1, *spec.judged_shape))
    return {"G": summarize(G, torch.zeros(1, config.latent_dim)), "D": D}


def summary_table(player: str, rows: list[LayerSummary]) -> Table:
    """Lay out a player's rows, with totals.

    Args:
        player: ``"G"`` or ``"D"``.
        rows: its layers.
    """
    title = {"G": "Generator G", "D": "Discriminator D"}.get(player, player)
    table = Table(title=title, show_footer=True)
    table.add_column("layer", "total")
    table.add_column("output")
    table.add_column("parameters", f"{sum(row.parameters for row in rows):,}", justify="right")
    table.add_column("MFLOPs", f"{sum(row.flops for row in rows) / 1e6:,.2f}", justify="right")
    for row in rows:
        shape = "×".join(map(str, row.shape)) or "1"
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.flops / 1e6:,.2f}" if row.flops else "")
    return table
