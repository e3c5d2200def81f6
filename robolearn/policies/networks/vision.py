"""Images to vectors: a ResNet-18 with GroupNorm whose feature maps become keypoints (spatial softmax).

The encoder of Diffusion Policy (Chi et al. 2023, section IV) and of robomimic: trained from scratch, end to end with
the policy, one a camera. A crop of the picture at a random place while training, of its middle otherwise.

    pixels -> crop, [-1, 1] -> ResNet-18 -> 1x1 convolution to K maps -> K keypoints (x, y) -> linear

What goes wrong with such encoders:

- BatchNorm and averaged weights: the running statistics lag behind the averaged weights, and policies fail silently
  at test time. Hence GroupNorm, which has none.
- Crops: one place for all pictures of a window. A new place for each would look like motion of the camera.
- Pictures that are already in [0, 1] or scaled by ImageNet's statistics are wrong here: pixels are uint8 and are
  scaled inside, in one place.
- Half precision: keypoints are means of coordinates, so the softmax and its mean stay in float32. The linear map of
  them does not: under bfloat16 it reads them to about 0.15 of 76 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robolearn.core.errors import ConfigError, FeatureError

_GROUP = 16  # channels a group, as in the original
_MAX_STAGES = 4


@dataclass(frozen=True)
class VisionConfig:
    """Defaults: the encoder of Diffusion Policy, 11.2 M parameters a camera. A CPU trains `width` 16 well."""

    width: int = 64
    """channels of the first stage; each later one has twice as many"""
    stages: int = 4
    """stages of two residual blocks; 4 is ResNet-18, 3 leaves a map of twice the resolution"""
    crop: float = 0.9
    """share of height and width that is seen: 84 px -> 76 px"""
    keypoints: int = 32
    """keypoints of spatial softmax"""
    feature_dim: int = 64
    """numbers that describe a picture"""

    def __post_init__(self) -> None:
        if self.width < _GROUP or self.width % _GROUP:
            raise ConfigError(f"vision.width must be a multiple of {_GROUP}, found {self.width}.")
        if not 1 <= self.stages <= _MAX_STAGES:
            raise ConfigError(f"vision.stages must be 1 to {_MAX_STAGES}, found {self.stages}.")
        if not 0 < self.crop <= 1:
            raise ConfigError(f"vision.crop must be a share in (0, 1], found {self.crop}.")
        for name in ("keypoints", "feature_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"vision.{name} must be at least 1, found {getattr(self, name)}.")


class ImageEncoder(nn.Module):
    """Pictures of one camera to vectors.

    Args:
        config: sizes.
        shape: (H, W, C) of the pictures.

    Attributes:
        crop: (h, w) pixels that are seen.
        dim: numbers a picture.

    Raises ConfigError for pictures that are too small for so many stages.
    """

    def __init__(self, config: VisionConfig, shape: tuple[int, ...]):
        super().__init__()
        height, width, channels = shape
        crop = round(height * config.crop), round(width * config.crop)
        smallest = 2 ** (config.stages + 1) + 1
        if min(crop) < smallest:
            raise ConfigError(
                f"Images of {height} x {width} pixels cropped to {crop[0]} x {crop[1]} are too small: {config.stages} "
                f"stages need at least {smallest} x {smallest} after the crop; record larger ones or lower "
                "--policy.vision.stages."
            )
        self.shape = tuple(shape)
        self.crop = crop
        self.dim = config.feature_dim
        self.trunk = resnet18(config.width, channels, config.stages)
        self.keypoints = nn.Conv2d(config.width * 2 ** (config.stages - 1), config.keypoints, 1)
        self.head = nn.Linear(2 * config.keypoints, config.feature_dim)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, ..., H, W, C) -> (B, ..., dim). In training mode the crop is drawn once for each of the B rows.

        Random places come from torch's global generator. Raises FeatureError for another shape or dtype.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[-3:]) != self.shape or images.ndim < 4:
            raise FeatureError(
                f"Expected uint8 images of shape (rows, ..., {', '.join(map(str, self.shape))}), found "
                f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}."
            )
        lead = images.shape[:-3]
        pixels = images.flatten(1, -4) if images.ndim > 4 else images[:, None]
        pixels = (random_crop if self.training else center_crop)(pixels, self.crop).flatten(0, 1)
        # (N, h, w, C) seen as (N, C, h, w) is what torch calls channels last: the fast order of a CPU's convolutions
        scaled = pixels.to(self.head.weight.dtype, memory_format=torch.contiguous_format).sub_(127.5).div_(127.5)
        points = spatial_softmax(self.keypoints(self.trunk(scaled.permute(0, 3, 1, 2))))
        return self.head(points).unflatten(0, lead)


def random_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, T, H, W, C) -> (B, T, h, w, C): a uniformly drawn window for each row, the same for all its T pictures."""
    rows, _, height, width, _ = images.shape
    device = images.device
    top = torch.randint(height - size[0] + 1, (rows,), device=device)
    left = torch.randint(width - size[1] + 1, (rows,), device=device)
    # all windows as a view, (B, tops, lefts, T, C, h, w); one of them is copied for each row
    windows = images.unfold(2, size[0], 1).unfold(3, size[1], 1).permute(0, 2, 3, 1, 5, 6, 4)
    return windows[torch.arange(rows, device=device), top, left]


def center_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, T, H, W, C) -> (B, T, h, w, C): the window in the middle, up and left of it where the margin is odd."""
    top, left = (images.shape[2] - size[0]) // 2, (images.shape[3] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def spatial_softmax(maps: Tensor) -> Tensor:
    """(N, K, h, w) -> (N, 2K) float32: the mean position x, y of each map's softmax, from -1 to 1 across the map.

    Finn et al. 2016, "Deep Spatial Autoencoders for Visuomotor Learning", equation 1, at temperature 1.
    """
    _, _, height, width = maps.shape
    share = maps.flatten(2).float().softmax(-1).unflatten(-1, (height, width))
    # products and sums, not matrix products, which autocast would round
    x = (share.sum(2) * torch.linspace(-1.0, 1.0, width, device=maps.device)).sum(-1)
    y = (share.sum(3) * torch.linspace(-1.0, 1.0, height, device=maps.device)).sum(-1)
    return torch.stack([x, y], dim=-1).flatten(1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 2), normalised by GroupNorm."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(after // _GROUP, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(after // _GROUP, after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.GroupNorm(after // _GROUP, after)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x), inplace=True)


def resnet18(width: int = 64, channels: int = 3, stages: int = _MAX_STAGES) -> nn.Sequential:
    """ResNet-18 up to its last feature map, (N, channels, H, W) -> (N, 2^(stages-1) width, H / 2^(stages+1), ...)."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 7, 2, padding=3, bias=False),
        nn.GroupNorm(width // _GROUP, width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    before = width
    for stage in range(stages):
        after = width * 2**stage
        layers += [ResidualBlock(before, after, 1 if stage == 0 else 2), ResidualBlock(after, after, 1)]
        before = after
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
