"""Pieces that the architectures share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.fast import convolution, dense, leaky
from sparring.networks.minibatch import MinibatchDiscrimination, MinibatchStddev
from sparring.networks.spec import PlayerSpec
from sparring.networks.virtual import VirtualBatchNorm

#: ``√(2 / (1 + 0.2²))``
HE_GAIN = nn.init.calculate_gain("leaky_relu", 0.2)


class Layers(nn.Sequential):
    """One layer after the other; a layer and the activation after it are computed at once where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer returns."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            slope, next_slope = _slope(layer), _slope(layers[0]) if layers else None
            if slope is not None and leaky.fits(x):
                x = leaky.leaky_relu(x, slope)
            elif next_slope is not None and isinstance(layer, nn.BatchNorm2d) and leaky.fits_norm(x, layer):
                x = leaky.leaky_batch_norm(x, layer, next_slope)
                layers.pop(0)
            elif isinstance(layer, nn.Linear):
                x = dense_layer(layer, x, _activation(layers))
            else:
                x = layer(x)
        return x


class Maxout(nn.Module):
    """The largest of each unit's pieces: ``[B, pieces * units]`` to ``[B, units]``."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima; the gradient goes to the largest piece of each unit (to each of them, should some be equal)."""
        return dense.largest(x.reshape(len(x), self.pieces, -1))

    def extra_repr(self) -> str:
        """Return the number of pieces, for ``print(network)``."""
        return f"pieces={self.pieces}"


def dense_layer(layer: nn.Linear, x: Tensor, activation: nn.ReLU | Maxout | None = None) -> Tensor:
    """Return what a layer, and the activation if there is one, make of ``x [B, K]``."""
    if layer._forward_hooks or not dense.fits(x, layer.weight):
        y: Tensor = layer(x)
        return y if activation is None else activation(y)
    if activation is None:
        return dense.linear(x, layer.weight, layer.bias)
    if isinstance(activation, Maxout):
        return dense.maxout(x, layer.weight, layer.bias, activation.pieces)
    return dense.relu(x, layer.weight, layer.bias)


def _activation(layers: list[nn.Module]) -> nn.ReLU | Maxout | None:
    """Take the activation that comes next, if nothing but an identity stands before it and nobody watches."""
    place = 1 if layers and isinstance(layers[0], nn.Identity) else 0
    found = layers[place] if place < len(layers) else None
    if not isinstance(found, nn.ReLU | Maxout) or found._forward_hooks:
        return None
    del layers[: place + 1]
    return found


def _slope(layer: nn.Module) -> float | None:
    """Return the slope for what is negative, if the layer is an activation that nobody watches and that overwrites its input."""
    if layer._forward_hooks or not isinstance(layer, nn.ReLU | nn.LeakyReLU) or not layer.inplace:
        return None
    return float(layer.negative_slope) if isinstance(layer, nn.LeakyReLU) else 0.0


class Reshape(nn.Module):
    """Gives every sample of a batch the same new shape; maps ``(C, H, W)`` with their channels last in memory.

    The layers before and after run over maps whose channels are last, so no number moves here, nor in `Flatten`.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x [B, F]`` as ``[B, *shape]``."""
        if len(self.shape) != 3:
            return x.reshape(x.shape[0], *self.shape)
        channels, height, width = self.shape
        return x.reshape(x.shape[0], height, width, channels).permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Return the shape, for ``print(network)``."""
        return "×".join(map(str, self.shape))


class Flatten(nn.Module):
    """Maps to flat features, pixel by pixel: `Reshape` undone."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x [B, C, H, W]`` as ``[B, H W C]``."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Conv2d(nn.Conv2d):
    """A square convolution by `sparring.fast.convolution`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self.square = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, outputs, h, w]`` of ``x [B, inputs, H, W]``."""
        return convolution.conv2d(x, self.weight, self.bias, *self.square)


class ConvTranspose2d(nn.ConvTranspose2d):
    """A square transposed convolution by `sparring.fast.convolution`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, more: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, more, bias=bias)
        self.square = stride, padding, more

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return ``[B, outputs, H, W]`` of ``x [B, inputs, h, w]``."""
        assert output_size is None, "the size is fixed when the layer is made"
        return convolution.conv_transpose2d(x, self.weight, self.bias, *self.square)


class Logit(nn.Module):
    """The last layer of D: features ``[B, in_features]`` to one logit each, ``[B]``.

    Attributes:
        of_batch: what it reads beside the features: views of the whole batch, ``[B, in_features] -> [B, out_features]``.
        dense: the weights.
    """

    def __init__(self, in_features: int, player: PlayerSpec) -> None:
        super().__init__()
        views: list[MinibatchDiscrimination | MinibatchStddev] = []
        if player.kernels:
            views.append(MinibatchDiscrimination(in_features, player.kernels, player.kernel_dims))
        if player.stddev_group:
            views.append(MinibatchStddev(player.stddev_group))
        self.in_features = in_features
        self.of_batch = nn.ModuleList(views)
        self.dense = nn.Linear(in_features + sum(view.out_features for view in views), 1)

    @torch.no_grad()
    def begin_with_features(self) -> None:
        """Let what is read of the batch count for nothing at first.

        Sums over a batch are large and hardly differ from sample to sample while the weights are random: they would add the
        same large number to all logits. The authors of minibatch discrimination subtract their mean instead.
        """
        self.dense.weight[:, self.in_features :] = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, ``[B]``, larger for more real."""
        if len(self.of_batch):
            features = torch.cat((features, *(view(features) for view in self.of_batch)), 1)
        return dense_layer(self.dense, features).squeeze(1)


class FeatureCritic(nn.Module):
    """A discriminator in two parts: samples to flat features, features to one logit.

    Attributes:
        features: ``[B, *judged_shape]`` -> ``[B, F]``, which feature matching compares.
        logit: ``[B, F]`` -> ``[B]``.
    """

    features: nn.Module
    logit: Logit

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``[B]``, of samples ``[B, *judged_shape]``."""
        logits: Tensor = self.logit(self.features(x))
        return logits


def normalization(player: PlayerSpec, channels: int, *, flat: bool = False) -> nn.Module:
    """Return the normalization that stands after a layer.

    Args:
        player: its ``norm`` is ``"batch"`` (arXiv:1502.03167), ``"layer"`` (arXiv:1607.06450, over channels and space of
            each sample, so that gradient penalties stay per sample), ``"virtual"`` (arXiv:1606.03498, for a generator
            within `sparring.networks.virtual.WithReference`) or ``"none"``.
        channels: channels of the layer's output.
        flat: whether the output is ``[B, channels]`` and not ``[B, channels, H, W]``.
    """
    if player.norm == "batch":
        kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
        return kind(channels, momentum=player.momentum)
    if player.norm == "layer":
        return nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels)
    if player.norm == "virtual":
        return VirtualBatchNorm(channels)
    assert player.norm == "none", player.norm
    return nn.Identity()


@torch.no_grad()
def draw_weights(
    network: nn.Module, generator: torch.Generator, player: PlayerSpec, std: float | None, gain: float = HE_GAIN
) -> None:
    """Draw all weights anew, from one generator, so that they depend on the seed alone.

    Args:
        network: the network, changed in place; biases become 0 and normalization starts as the identity.
        generator: the source of randomness.
        player: its ``init_std`` goes before the network's own rule.
        std: the network's own rule: the standard deviation of the normal draw, 0.02 in DCGAN (arXiv:1511.06434, §4);
            None is ``gain / √inputs`` (arXiv:1502.01852).
        gain: what keeps the second moment of the units' outputs from layer to layer; He's for leaky units of slope 0.2.
    """
    std = std if player.init_std is None else player.init_std
    for module in network.modules():
        if isinstance(module, MinibatchDiscrimination):
            module.draw_weights(generator)
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if std is None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator).mul_(gain)
            else:
                nn.init.normal_(module.weight, 0.0, std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Logit):
            module.begin_with_features()
