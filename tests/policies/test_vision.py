"""Image encoders: sizes of the published network, spatial softmax and crops in closed form, mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.policies.networks.vision import (
    ImageEncoder,
    VisionConfig,
    center_crop,
    random_crop,
    resnet18,
    spatial_softmax,
)

TINY = VisionConfig(width=16, stages=1, crop=0.75, keypoints=4, feature_dim=5)


def numbered(rows: int, pictures: int, height: int, width: int) -> torch.Tensor:
    """Pictures (rows, pictures, height, width, 3) whose pixels are y, x and the picture's number."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture = torch.stack([y, x, torch.zeros_like(x)], dim=-1).expand(rows, pictures, height, width, 3).clone()
    picture[..., 2] = torch.arange(rows * pictures).view(rows, pictures, 1, 1)
    return picture.to(torch.uint8)


def test_the_trunk_has_the_parameters_of_resnet_18():
    # the published count of ResNet-18 is 11,689,512, of which the classifier has 512 * 1000 + 1000
    assert sum(p.numel() for p in resnet18().parameters()) == 11_689_512 - 513_000


def test_the_trunk_shrinks_an_84_pixel_crop_as_the_original_does():
    assert ImageEncoder(VisionConfig(), (84, 84, 3)).crop == (76, 76)
    assert resnet18(16)(torch.zeros(2, 3, 76, 76)).shape == (2, 128, 3, 3)
    assert resnet18(16, stages=3)(torch.zeros(2, 3, 76, 76)).shape == (2, 64, 5, 5)


def test_there_is_nothing_but_group_norm():
    encoder = ImageEncoder(VisionConfig(width=32), (84, 84, 3))
    norms = [m for m in encoder.modules() if "Norm" in type(m).__name__]
    assert all(isinstance(m, torch.nn.GroupNorm) and m.num_groups == m.num_channels // 16 for m in norms)
    assert not list(encoder.buffers()), "nothing that averaging weights could leave behind"


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 6), (4, 0), (2, 3), (1, 5)])
def test_spatial_softmax_of_a_peak_is_its_place(row, column):
    maps = torch.zeros(1, 1, 5, 7)
    maps[0, 0, row, column] = 50.0
    expected = [2 * column / 6 - 1, 2 * row / 4 - 1]
    np.testing.assert_allclose(spatial_softmax(maps)[0].numpy(), expected, atol=1e-6)


def test_spatial_softmax_of_two_equal_peaks_is_halfway():
    maps = torch.full((1, 1, 4, 4), -50.0)
    maps[0, 0, 0, 0] = maps[0, 0, 0, 3] = 50.0
    np.testing.assert_allclose(spatial_softmax(maps)[0].numpy(), [0.0, -1.0], atol=1e-6)


def test_spatial_softmax_lists_x_and_y_of_one_map_after_the_other():
    maps = torch.zeros(1, 2, 3, 3)
    maps[0, 0, 0, 2] = maps[0, 1, 2, 1] = 50.0
    np.testing.assert_allclose(spatial_softmax(maps)[0].numpy(), [1, -1, 0, 1], atol=1e-6)


def test_a_centre_crop_is_the_middle():
    crop = center_crop(numbered(1, 1, 8, 10), (4, 6))
    assert crop[0, 0, :, :, 0].tolist() == [[y] * 6 for y in (2, 3, 4, 5)]
    assert crop[0, 0, 0, :, 1].tolist() == [2, 3, 4, 5, 6, 7]


def test_a_random_crop_is_a_window_of_its_row_at_one_place_for_all_its_pictures():
    torch.manual_seed(0)
    pictures = numbered(40, 3, 9, 11)
    crops = random_crop(pictures, (6, 7))
    assert crops.shape == (40, 3, 6, 7, 3)
    places = set()
    for row in range(40):
        top, left = crops[row, 0, 0, 0, :2].tolist()
        places.add((top, left))
        assert torch.equal(crops[row], pictures[row, :, top : top + 6, left : left + 7])
    tops, lefts = ({place[axis] for place in places} for axis in (0, 1))
    assert tops == {0, 1, 2, 3}
    assert lefts == {0, 1, 2, 3, 4}


def test_crops_come_from_torchs_generator():
    pictures = numbered(8, 1, 9, 9)
    crops = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        crops.append(random_crop(pictures, (5, 5)))
    assert torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], crops[2])


def test_pixels_are_scaled_to_one():
    encoder = ImageEncoder(TINY, (16, 16, 3)).eval()
    seen = []
    encoder.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 16, 16, 3))
    assert seen[0].shape == (2, 3, 12, 12)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].amin(dim=(1, 2, 3)).tolist() == [-1.0, 1.0]


def test_windows_are_encoded_picture_by_picture():
    encoder = ImageEncoder(TINY, (16, 16, 3)).eval()
    pictures = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    together = encoder(pictures)
    assert together.shape == (2, 3, encoder.dim) == (2, 3, 5)
    torch.testing.assert_close(encoder(pictures[1, 2:])[0], together[1, 2])


def test_a_random_crop_is_for_training_only():
    encoder = ImageEncoder(TINY, (16, 16, 3))
    picture = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    assert len({tuple(encoder(picture)[0].tolist()) for _ in range(8)}) > 1
    encoder.eval()
    assert len({tuple(encoder(picture)[0].tolist()) for _ in range(8)}) == 1


def test_half_precision_keeps_coordinates_in_float32():
    maps = torch.randn(3, 2, 5, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        points = spatial_softmax(maps)
    assert points.dtype == torch.float32
    torch.testing.assert_close(points, spatial_softmax(maps.float()))


@pytest.mark.parametrize(
    "pictures",
    [
        torch.zeros(2, 20, 16, 3, dtype=torch.uint8),
        torch.zeros(2, 16, 16, 3),
        torch.zeros(16, 16, 3, dtype=torch.uint8),
    ],
)
def test_pictures_of_another_size_or_type_are_refused(pictures):
    with pytest.raises(FeatureError, match=r"Expected uint8 images of shape \(rows, ..., 16, 16, 3\), found"):
        ImageEncoder(TINY, (16, 16, 3))(pictures)


def test_pictures_too_small_for_the_network_are_refused():
    with pytest.raises(ConfigError, match="cropped to 29 x 29 are too small"):
        ImageEncoder(VisionConfig(width=16), (32, 32, 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 24}, "vision.width must be a multiple of 16, found 24"),
        ({"width": 0}, "vision.width must be a multiple of 16, found 0"),
        ({"stages": 5}, "vision.stages must be 1 to 4, found 5"),
        ({"crop": 1.1}, r"vision.crop must be a share in \(0, 1\], found 1.1"),
        ({"crop": float("nan")}, "vision.crop must be a share"),
        ({"keypoints": 0}, "vision.keypoints must be at least 1, found 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        VisionConfig(**wrong)
