"""`Part` and `ActionLayout`: what they refuse, what they say, and that they survive json."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.action import ROTATION_NAMES, ActionLayout, Part
from robolearn.core.errors import LayoutError

POSE, GRIPPER = Part("pose"), Part("gripper")
number = st.floats(-10, 10, allow_nan=False).filter(lambda n: abs(n) > 1e-3)


def scales(size: int) -> st.SearchStrategy:
    return st.none() | st.tuples(*[number] * size)


@st.composite
def poses(draw, arm: str) -> Part:
    rotation = draw(st.sampled_from(sorted(ROTATION_NAMES)))
    reference = draw(st.sampled_from(["absolute", "current", "target", "observation"]))
    axes = draw(st.sampled_from(["base", "tool", *(["euler"] if rotation == "rpy" else [])]))
    size = 3 + len(ROTATION_NAMES[rotation])
    return Part(
        "pose", arm=arm, reference=reference, axes=axes, rotation=rotation,
        frame=draw(st.sampled_from(["base", "world"])), free=draw(st.sampled_from(["", "sideways"])),
        scale=draw(scales(size)), offset=draw(scales(size)),
        limit=draw(st.none() | st.just((-1.0, 1.0))),
    )  # fmt: skip


@st.composite
def layouts(draw) -> ActionLayout:
    parts: list[Part] = []
    arms = draw(st.sampled_from([("",), ("left",), ("left", "right")]))
    for arm in arms:
        joints = draw(st.integers(1, 8))
        names = tuple(f"joint{i}" for i in range(joints))
        parts.append(
            draw(
                poses(arm)
                | st.builds(
                    Part, st.just("joints"), st.just(names), st.just(arm), st.sampled_from(["absolute", "target"])
                )
                | st.builds(Part, st.just("velocity"), st.just(names), st.just(arm))
            )
        )
        if draw(st.booleans()):
            parts.append(Part("gripper", arm=arm, scale=draw(scales(1))))
    robots = tuple((arm, "panda") for arm in arms if draw(st.booleans()))
    return ActionLayout(tuple(parts), robots)


@settings(max_examples=40)
@given(layouts())
def test_a_layout_survives_json(layout):
    assert ActionLayout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


@settings(max_examples=40)
@given(layouts())
def test_every_number_has_one_label_and_one_part(layout):
    assert len(set(layout.names)) == layout.size == sum(s.stop - s.start for s in layout.slices)
    for part, where in zip(layout.parts, layout.slices, strict=True):
        assert layout.names[where] == part.labels and layout.slice_of(part) == where
    scale, offset = layout.scaling()
    assert scale.shape == offset.shape == (layout.size,) and scale.all()


def test_labels_have_the_prefix_of_their_arm():
    layout = ActionLayout(
        (Part("pose", arm="left", rotation="none"), Part("gripper", arm="left"), Part("pose", arm="right"))
    )
    assert layout.names[:5] == ("left_x", "left_y", "left_z", "left_gripper", "right_x")
    assert layout.arms == ("left", "right") and layout.gripper("right") is None
    assert layout.motion("right") is layout.parts[2]


def test_what_does_not_matter_makes_no_difference():
    """So that equal parts compare equal."""
    assert Part("gripper", axes="tool", rotation="rpy") == GRIPPER
    assert Part("pose", axes="tool") == POSE  # absolute: there is nothing to turn about
    assert Part("pose", scale=1.0, offset=(0,) * 9) == POSE
    assert Part("pose", scale=2.0) == Part("pose", scale=(2.0,) * 9)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "torque"}, "A part has the kind 'torque'; expected 'pose', 'joints', 'gripper', 'velocity'."),
        ({"kind": "pose", "reference": "last"}, "the reference 'last'; expected 'absolute', 'current', 'target', 'obs"),
        ({"kind": "pose", "rotation": "euler"}, "the rotation 'euler'; expected 'none', 'rot6d', 'axis_angle', 'rpy'"),
        ({"kind": "pose", "names": ("x",)}, "has the elements ['x', 'y', 'z', 'rot6d_0', 'rot6d_1'"),
        ({"kind": "pose", "coordinates": "zx"}, "A pose has the coordinates 'zx'; expected 'xyz', 'xy' or ''."),
        ({"kind": "joints"}, "A part 'joints' needs a name of its own for each number, found []."),
        ({"kind": "joints", "names": ("a", "a")}, "needs a name of its own for each number, found ['a', 'a']."),
        ({"kind": "gripper", "reference": "target"}, "A part 'gripper' is absolute, found the reference 'target'."),
        ({"kind": "velocity", "names": ("a",), "reference": "current"}, "A part 'velocity' is absolute, found"),
        ({"kind": "pose", "reference": "target", "axes": "euler"}, "they need the rotation 'rpy', not 'rot6d'."),
        ({"kind": "pose", "reference": "target", "axes": "tool", "coordinates": "xy"}, "moves in a plane, along"),
        ({"kind": "gripper", "scale": 0.0}, "The scale of a part 'gripper' must not be 0 or nearly 0, found [0.0]."),
        ({"kind": "pose", "scale": (1.0, 2.0)}, "The scale of a part 'pose' needs 9 finite numbers of at most 1e+09"),
        ({"kind": "gripper", "offset": float("nan")}, "The offset of a part 'gripper' needs 1 finite numbers"),
        ({"kind": "gripper", "limit": (1, -1)}, "The limit of a part must rise, found 1.0 to -1.0."),
    ],
)  # fmt: skip
def test_fields_that_contradict_each_other_are_refused(fields, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        Part(**fields)


@pytest.mark.parametrize(
    ("parts", "robots", "words"),
    [
        ((), (), "An action needs at least one part, found none."),
        ((POSE, Part("joints", ("a",))), (), "Two parts of the arm without a prefix say where it goes: pose and"),
        ((POSE, POSE), (), "each of several arms needs a prefix of its own, and an arm follows one of pose, joints"),
        ((Part("pose", arm="left"), Part("pose", arm="left")), (), "Two parts of arm 'left' say where it goes"),
        ((GRIPPER, GRIPPER), (), "Two grippers belong to the arm without a prefix; each of several arms"),
        ((POSE, Part("pose", arm="left")), (), "Of several arms each needs a prefix, found ['', 'left']."),
        ((POSE,), (("left", "panda"),), "The robot 'panda' is arm 'left', of which no part speaks; arms are ['']."),
        ((POSE,), (("", "panda"), ("", "ur5e")), "Two robots have one prefix: [('', 'panda'), ('', 'ur5e')]."),
    ],
)  # fmt: skip
def test_arms_that_are_not_told_apart_are_refused(parts, robots, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        ActionLayout(parts, robots)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (None, "None does not describe an action: expected 'parts' and 'robots'."),
        ({"parts": [], "more": 1}, "does not describe an action"),
        ({"parts": [7]}, "7 does not describe a part of an action: expected a map."),
        ({"parts": [{"kind": "pose", "colour": "red"}]}, "unexpected keyword argument 'colour'"),
        ({"parts": [{"kind": ["pose"]}]}, "does not describe a part of an action: its kind is tuple, expected text."),
        ({"parts": [{"kind": "gripper", "limit": 3}]}, "does not describe a part of an action"),
    ],
)
def test_what_describes_no_layout_is_refused(mapping, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        ActionLayout.from_dict(mapping)


def test_a_layout_says_itself_in_one_line():
    calvin = Part("pose", arm="left", reference="target", axes="euler", rotation="rpy", scale=0.02, limit=(-1, 1))
    layout = ActionLayout((calvin, Part("gripper", arm="left"), Part("joints", ("a",), "right")), (("left", "panda"),))
    assert layout.describe() == (
        "left (panda): pose relative to the last target (euler axes, rpy, scaled, within -1 to 1), gripper; "
        "right: joints"
    )


def test_arms_that_are_alike_are_said_once():
    arms = ("left", "right", "third")
    parts = [Part(kind, arm=arm) for arm in arms for kind in ("pose", "gripper")]
    same, words = dict.fromkeys(arms, "panda"), "pose (rot6d), gripper"
    assert ActionLayout(parts[:4]).describe() == f"left and right: {words}"
    assert ActionLayout(parts, same).describe() == f"left, right and third (panda): {words}"
    other = ActionLayout(parts, {**same, "right": "ur5e"})
    assert other.describe() == f"left and third (panda): {words}; right (ur5e): {words}"
    assert ActionLayout(parts[:3]).describe() == f"left: {words}; right: pose (rot6d)"


def test_a_layout_has_the_scale_of_each_number():
    layout = ActionLayout((Part("pose", rotation="none", scale=(1, 2, 3)), Part("gripper", offset=0.5)))
    np.testing.assert_array_equal(layout.scaling(), [[1, 2, 3, 1], [0, 0, 0, 0.5]])


def joints(**fields):
    return {"parts": [{"kind": "joints", "names": ["a", "b"], **fields}]}


LONG, DEEP = "x" * 10**6, []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"parts": [{"kind": "gripper", "arm": str(i)} for i in range(100_000)]}, "at most 128 parts"),
        ({**joints(), "robots": {str(i): "panda" for i in range(100_000)}}, "found 1 and 100000"),
        (joints(names=[str(i) for i in range(100_000)]), "at most 1024 numbers, found 100000"),
        (joints(names="ab"), "its names is str, expected a list"),
        (joints(names=[1, True]), "A name of a part 'joints' must be a printable text"),
        (joints(names=["a\x1b[31m", "b"]), "must be a printable text of at most 100 characters, found 'a?[31m'"),
        (joints(names=[LONG, LONG]), "must be a printable text of at most 100 characters"),
        (joints(names=DEEP), "found 'a deeply nested list'"),
        (joints(unit={"m": 1}), "The unit of a part 'joints' must be a printable text"),
        (joints(unit=DEEP), "found 'a deeply nested tuple'"),
        (joints(frame=LONG), "The frame of a part 'joints' must be a printable text"),
        (joints(arm=LONG), "The arm of a part 'joints' must be a printable text"),
        (joints(**{LONG: 1}), "does not describe a part of an action"),
        ({**joints(), "robots": {"": {"panda": 1}}}, "A robot's prefix or name must be a printable text"),
        ({"parts": DEEP}, "a deeply nested list does not describe a part"),
        (DEEP, "a deeply nested list does not describe an action"),
        (joints(scale="12"), "its scale is str, expected a list"),
        (joints(scale=np.ones(2)), "its scale is ndarray, expected a list"),
        (joints(scale=[True, True]), "needs 2 finite numbers of at most 1e+09, found (True, True)"),
        (joints(scale=[1e300, 1]), "needs 2 finite numbers of at most 1e+09"),
        (joints(scale=[1e-320, 1]), "must not be 0 or nearly 0"),
        (joints(offset=[float("inf"), 1]), "needs 2 finite numbers of at most 1e+09"),
        (joints(limit="12"), "its limit is str, expected a list"),
        (joints(limit=[False, True]), "The limit of a part needs two numbers, found (False, True)"),
        (joints(limit=[1, 2, 3]), "The limit of a part needs two numbers, found (1, 2, 3)"),
        ({"parts": [{"kind": "pose", "coordinates": LONG}]}, "expected 'xyz', 'xy' or ''"),
        ({"parts": [{"kind": "pose", "names": [LONG]}]}, "A pose of this kind has the elements"),
    ],
    ids=range(27),
)  # fmt: skip
def test_layouts_of_other_machines_are_bounded(mapping, words):
    with pytest.raises(LayoutError, match=re.escape(words)) as refused:
        ActionLayout.from_dict(mapping)
    assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)


def test_a_text_is_no_list_of_names():
    with pytest.raises(LayoutError, match="A part 'joints' needs a list of names, found 'ab'"):
        Part("joints", "ab")
