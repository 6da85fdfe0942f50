"""ResNet-18, of any width, for small images or large, with its batch normalization declared.

The parameters have the names that torchvision gives them: at width 64 with the stem for large
images its weights can be loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torchvision.models.resnet import BasicBlock, ResNet  # type: ignore[import-untyped]

from validation.data import Examples

__all__ = [
    "BATCH_NORMS",
    "FixedStatistics",
    "FrozenStatistics",
    "freeze_statistics",
    "resnet18",
]

_STATISTICS_BATCH = 256


class FixedStatistics(torch.nn.BatchNorm2d):
    """Batch normalization by given statistics: an affine map of its own for each channel.

    A batch is normalized by `running_mean` and `running_var`, which training does not move; the
    loss of a batch is then the mean of its examples' losses.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.eval()

    def train(self, mode: bool = True) -> FixedStatistics:
        """Stay in evaluation, whatever the network does."""
        super().train(False)
        return self


class FrozenStatistics(FixedStatistics):
    """The same by the statistics of all data, which `freeze_statistics` sets once."""


BATCH_NORMS: dict[str, Callable[..., torch.nn.BatchNorm2d]] = {
    "frozen": FrozenStatistics,
    "training": torch.nn.BatchNorm2d,
    "evaluation": FixedStatistics,
}
_STEMS = ("small", "imagenet")


class _ScaledResNet(ResNet):
    """Stages of width, 2·width, 4·width and 8·width channels."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        width: int,
        stem: str,
        norm: Callable[..., torch.nn.BatchNorm2d],
    ) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=outputs, norm_layer=norm)
        self.inplanes = width
        small = stem == "small"
        size, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = torch.nn.Conv2d(channels, width, size, stride, padding, bias=False)
        self.bn1 = norm(width)
        if small:
            self.maxpool = torch.nn.Identity()
        self.layer1 = self._make_layer(BasicBlock, width, 2)
        self.layer2 = self._make_layer(BasicBlock, 2 * width, 2, stride=2)
        self.layer3 = self._make_layer(BasicBlock, 4 * width, 2, stride=2)
        self.layer4 = self._make_layer(BasicBlock, 8 * width, 2, stride=2)
        self.fc = torch.nn.Linear(8 * width, outputs)
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(
    examples: Examples, width: int = 64, stem: str = "small", batch_norm: str = "frozen"
) -> torch.nn.Module:
    """A ResNet-18 at its initialization.

    Args:
        examples: images, (N, channels, height, width).
        width: channels of the first stage.
        stem: "small" begins with a 3×3 convolution of stride 1 and no pooling; "imagenet" with a
            7×7 one of stride 2 and a pooling.
        batch_norm: "training" normalizes by the statistics of each batch, which couple its
            examples; "evaluation" by the running ones as they are, 0 and 1 or those of a file of
            weights; "frozen" by those that one pass over the data has at the initialization, set
            by `freeze_statistics`. Scales and shifts are trained in all three.

    Raises:
        ValueError: for inputs that are not images, or an option that there is not.
    """
    if examples.inputs.ndim != 4:
        raise ValueError(
            f'model.name = "resnet18": inputs of {examples.name} have the shape '
            f"{tuple(examples.inputs.shape)}, it takes images, (examples, channels, height, "
            'width). Give data such as "digits_images".'
        )
    if width < 1:
        raise ValueError(f"model.options.width = {width}: give a number of channels from 1.")
    _check_choice("stem", stem, _STEMS)
    _check_choice("batch_norm", batch_norm, tuple(BATCH_NORMS))
    channels, outputs = examples.inputs.shape[1], examples.targets.shape[1]
    return _ScaledResNet(channels, outputs, width, stem, BATCH_NORMS[batch_norm])


@torch.no_grad()
def freeze_statistics(network: torch.nn.Module, inputs: torch.Tensor) -> None:
    """Set the statistics of every `FrozenStatistics` to those of one pass over the data.

    Args:
        network: normalized by each batch's own statistics during the pass; nothing is done if it
            has no such layer.
        inputs: all of them, in the network's precision; they pass in batches of equal size up to
            one example, and the batches' means and variances are averaged.
    """
    layers = [each for each in network.modules() if isinstance(each, FrozenStatistics)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # Without a momentum the running statistics are the average over the batches.
        layer.momentum, layer.training = None, True
    for batch in inputs.tensor_split(math.ceil(len(inputs) / _STATISTICS_BATCH)):
        network(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum, layer.training = momentum, False


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"model.options.{option} = {value!r}: there are {', '.join(choices)}.")
