"""What an array of a source is taken for: names, kinds, layout and range of pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.array_features import SourceArray, decide, describe_arrays
from robolearn.datasets.convert.pictures import Pixels, Span, judge
from robolearn.datasets.convert.protocol import ConvertOptions


def source(**rows):
    """Arrays as a format without knowledge declares them, and a look at them."""
    arrays = [
        SourceArray(key, a.shape[1:], a.dtype.name, Feature(f"observation.{key}", a.shape[1:] or (1,), a.dtype.name))
        for key, a in rows.items()
    ]
    return arrays, lambda array: [rows[array.key]]


def decided(options=None, **rows):
    arrays, look = source(**rows)
    return decide(arrays, options or ConvertOptions(), look)


def kinds(decision):
    return {name: feature.kind for name, feature in decision.features.items()}


RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (2, 16, 20, 3)).astype(np.uint8)


def test_keys_in_the_wild_get_our_names_in_one_note():
    decision = decided(
        actions=np.ones((2, 7)), state=np.ones((2, 8)), wrist_image=PICTURE, joint_position=np.ones((2, 7))
    )
    assert kinds(decision) == {
        "action": "action", "observation.state": "state", "observation.images.wrist_image": "image",
        "observation.joint_position": "state",
    }  # fmt: skip
    assert decision.notes == ("names: actions is action; --rename KEY=FEATURE says otherwise",)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("actions", "action"), ("observation/state", "observation.state"), ("qpos", "observation.state"),
        ("observations/qpos", "observation.state"), ("obs/proprio", "observation.state"),
        ("qvel", "observation.velocity"), ("rewards", "next.reward"), ("ee_pos", "observation.ee_pos"),
        ("observation/joint_position", "observation.joint_position"), ("gain", "gain"), ("a/gain", "a.gain"),
    ],
)  # fmt: skip
def test_low_dimensional_names(key, name):
    array = SourceArray(key, (7,), "float32", Feature(key, (7,)))
    assert list(decide([array], ConvertOptions(), lambda a: ()).features) == [name]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("image", "observation.images.image"), ("observation/wrist_image", "observation.images.wrist_image"),
        ("observation.images.front", "observation.images.front"), ("observations/images/top", "observation.images.top"),
        ("exterior_image_1_left", "observation.images.exterior_image_1_left"),
    ],
)  # fmt: skip
def test_names_of_cameras(key, name):
    array = SourceArray(key, (16, 20, 3), "uint8", Feature(key, (16, 20, 3), "uint8", "image"), encoded=True)
    assert list(decide([array], ConvertOptions(), lambda a: ()).features) == [name]


def test_a_name_that_is_there_already_is_not_given_twice():
    decision = decided(action=np.ones((2, 7)), actions=np.ones((2, 7)), state=np.ones((2, 3)), qpos=np.ones((2, 3)))
    assert set(decision.features) == {"action", "observation.actions", "observation.state", "observation.qpos"}


def test_a_key_that_is_renamed_to_action_is_one():
    decision = decided(ConvertOptions(rename={"command": "action"}), command=np.ones((2, 7)))
    assert kinds(decision) == {"action": "action"}


def test_kind_names_and_drop_take_the_feature_or_the_key():
    options = ConvertOptions(kinds={"observation.cmd": "action"}, names={"cmd": ["x", "y"]}, drop=["gain"])
    decision = decided(options, cmd=np.ones((2, 2)), gain=np.ones(2))
    assert decision.features == {"observation.cmd": Feature("observation.cmd", (2,), "float64", "action", ("x", "y"))}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": {"comand": "a"}}, "--rename: Unknown key 'comand'. Did you mean 'command'\\? Known: command, gain"),
        ({"kinds": {"gian": "state"}}, "--kind: Unknown feature 'gian'. Did you mean 'gain'\\?"),
        ({"kinds": {"gain": "depht"}}, "--kind gain: Unknown kind 'depht'. Did you mean 'depth'\\?"),
        ({"names": {"comand": ["a"]}}, "--names: Unknown feature 'comand'. Did you mean 'command'\\?"),
        ({"names": {"command": ["a"]}}, "--names observation.command: 1 names for an array of shape \\(7,\\)"),
        ({"drop": ["gai"]}, "--drop: Unknown feature 'gai'. Did you mean 'gain'\\?"),
        ({"drop": ["gain", "command"]}, "all features would be left out"),
        ({"ranges": {"gain": (1, 0)}}, "--range gain=1,0: the first number must be smaller"),
        ({"ranges": {"gain": (0, 1)}}, "--range gain: there is nothing to scale; .* are no pictures"),
        ({"rename": {"gain": "observation.command"}}, "command and gain would both be called 'observation.command'"),
        ({"rename": {"gain": "a", "command": "a"}}, "--rename gives two keys one name"),
        ({"kinds": {"command": "image"}}, "command has rows of shape \\(7,\\), float64, and a picture is"),
    ],
)
def test_mistakes_name_the_closest_match(options, message):
    with pytest.raises(ConfigError, match=message):
        decided(ConvertOptions(**options), command=np.ones((2, 7)), gain=np.ones(2))


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(0, 1, "float32"), (-1, 1, "float32"), (0, 255, "float64"), (0, 1, "float16")]
)
def test_float_pictures_become_the_nearest_of_our_levels(low, high, dtype):
    rows = (PICTURE / 255 * (high - low) + low).astype(dtype)
    decision = decided(img=rows)
    assert decision.features["observation.images.img"].dtype == "uint8"
    reader = decision.pixels["observation.images.img"].reader()
    assert (reader(rows) == PICTURE).all()
    reader.finish()
    assert len(decision.notes) == (high != 255)


@pytest.mark.parametrize(("bits", "dtype"), [(10, "uint16"), (12, "uint16"), (16, "uint16"), (12, "int32")])
def test_integers_of_more_bits_are_scaled_by_what_they_can_hold(bits, dtype):
    rows = np.round(PICTURE / 255 * (2**bits - 1)).astype(dtype)
    decision = decided(img=rows)
    assert (decision.pixels["observation.images.img"](rows) == PICTURE).all()
    assert decision.notes[0].startswith(f"img: pictures are reduced from {bits} to 8 bits ({dtype}, values 0 to")


def test_whole_numbers_of_8_bits_in_a_larger_type_stay_what_they_are():
    decision = decided(img=PICTURE.astype(np.int64))
    assert (decision.pixels["observation.images.img"](PICTURE.astype(np.int64)) == PICTURE).all()
    assert decision.notes == ()


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_turned_and_said(channels):
    rows = np.moveaxis(PICTURE[..., :channels], -1, 1)
    decision = decided(img=rows)
    assert decision.features["observation.images.img"].shape == (16, 20, channels)
    assert (decision.pixels["observation.images.img"](rows) == PICTURE[..., :channels]).all()
    assert decision.notes == (f"img: pictures are turned from {channels}x16x20 (channels first) to 16x20x{channels}",)


def test_a_fourth_channel_is_left_out_and_said():
    rows = np.concatenate([PICTURE, np.full((2, 16, 20, 1), 255, np.uint8)], axis=-1)
    decision = decided(img=rows)
    assert (decision.pixels["observation.images.img"](rows) == PICTURE).all()
    assert decision.notes == ("img: the fourth channel (alpha) is left out",)
    packed = decided(img=np.concatenate([PICTURE, PICTURE[..., :1]], axis=-1))
    assert packed.notes[0].startswith("img: the fourth channel (alpha) is left out although its values differ (")


@pytest.mark.parametrize("shape", [(2, 16, 20), (2, 16, 20, 1)])
def test_one_channel_of_16_bits_is_depth_without_loss(shape):
    rows = RNG.integers(0, 65536, shape).astype(np.uint16)
    decision = decided(range=rows)
    assert decision.features == {
        "observation.depth.range": Feature("observation.depth.range", (16, 20), "uint16", "depth")
    }
    assert (decision.pixels["observation.depth.range"](rows) == rows.reshape(2, 16, 20)).all()
    assert "taken for depth in millimetres" in decision.notes[0]
    assert list(decided(ConvertOptions(rename={"range": "observation.images.d"}), range=rows).features) == [
        "observation.images.d"
    ]


def test_numbers_that_are_no_pictures_stay_numbers_and_large_ones_are_said():
    decision = decided(
        xyz=np.full((2, 32, 32, 3), 0.4), stack=np.zeros((2, 4, 32, 32, 3), np.uint8), tiny=np.ones((2, 3, 3))
    )
    assert kinds(decision) == {"observation.xyz": "state", "observation.stack": "state", "observation.tiny": "state"}
    assert decision.notes == (
        "xyz: rows of shape (32, 32, 3), float64, stay numbers; --kind xyz=image makes pictures of them",
        "stack: rows of shape (4, 32, 32, 3), uint8, stay numbers",
    )


def test_pictures_of_no_known_range_are_refused_by_name_until_it_is_given():
    rows = (PICTURE / 255 * 4.8 - 2.1).astype(np.float64)
    with pytest.raises(
        ConfigError, match=r"img: its pictures hold -2.1 to 2.7 .* --range img=LOW,HIGH, or keep .* --kind img=state"
    ):
        decided(img=rows)
    decision = decided(ConvertOptions(ranges={"img": (-2.1, 2.7)}), img=rows)
    assert (decision.pixels["observation.images.img"](rows) == PICTURE).all()
    assert kinds(decided(ConvertOptions(kinds={"img": "state"}), img=rows)) == {"observation.img": "state"}
    unnamed = decided(thing=rows)
    assert kinds(unnamed) == {"observation.thing": "state"}
    assert "which is no range of pictures: they stay numbers" in unnamed.notes[0]


def test_a_description_tells_of_pictures_of_no_known_range_and_refuses_nothing():
    arrays, look = source(img=(PICTURE / 255 * 4.8 - 2.1))
    described = describe_arrays(arrays, look)
    assert kinds(described) == {"observation.images.img": "image"}
    assert "say which values are black and white with --range img=LOW,HIGH" in described.notes[0]


UNIT, SIGNED, BYTES = (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)


def spans(*ends):
    return [Span(low, high, whole=False) for low, high in ends]


@pytest.mark.parametrize(
    ("episodes", "found"),
    [
        ([(0, 1)], UNIT), ([(0.2, 0.3)], UNIT), ([(-1, 1)], SIGNED), ([(0, 255)], BYTES), ([(0, 0), (0, 1)], UNIT),
        ([(0, 0)], BYTES), ([(0, 1), (0, 1), (-0.5, 1)], UNIT), ([(-1, 1), (0.1, 1)], SIGNED), ([(0, 3)], None),
        ([(-3, 3)], None), ([(0, 256)], None), ([(np.nan, np.nan)], None), ([(0, 1.001)], UNIT), ([(0, 1.01)], None),
    ],
)  # fmt: skip
def test_the_range_of_floats_is_that_of_most_episodes(episodes, found):
    assert judge(np.dtype("float32"), spans(*episodes)) == found


def test_an_episode_outside_the_range_is_refused_with_its_step():
    reader = Pixels("img", (16, 16, 3), UNIT).reader()
    frames = np.full((3, 16, 16, 3), 0.5)
    reader(frames)
    frames[1, 2, 3, 0] = 1.5
    with pytest.raises(DatasetError, match="step 4: img holds 1.5, outside 0 to 1; --range img=LOW,HIGH says"):
        reader(frames)
    frames[1, 2, 3, 0] = np.nan
    with pytest.raises(DatasetError, match="step 1: img holds nan; expected finite"):
        Pixels("img", (16, 16, 3), UNIT).reader()(frames)


@pytest.mark.parametrize(("judged", "held"), [(BYTES, 0.9), (SIGNED, 0.9)])
def test_an_episode_of_another_range_inside_of_it_is_refused_unless_the_range_was_given(judged, held):
    frames = np.random.default_rng(0).uniform(0.1, held, (2, 16, 16, 3))
    reader = Pixels("img", (16, 16, 3), judged).reader()
    reader(frames)
    with pytest.raises(DatasetError, match=r"img holds 0.1.* where others hold .* takes it as it is"):
        reader.finish()
    told = Pixels("img", (16, 16, 3), judged, judged=False).reader()
    told(frames)
    told.finish()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([UNIT, SIGNED, BYTES, (-2.0, 7.0)]),
    hnp.arrays(np.float64, (1, 4, 4, 3), elements=st.floats(0, 1, allow_subnormal=False)),
)
def test_scaling_is_off_by_at_most_half_a_level(ends, unit):
    low, high = ends
    scaled = Pixels("img", (4, 4, 3), ends)(unit * (high - low) + low)
    assert np.abs(scaled / 255 - unit).max() <= 0.5 / 255 + 1e-9
