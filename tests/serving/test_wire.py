import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robolearn.core.errors import ServerError
from robolearn.serving.wire import pack, unpack

DTYPES = ["<f4", "<f8", "<f2", "|u1", "|i1", "<i4", "<i8", "<u2", "|b1", ">f4"]


def test_a_known_observation_has_known_bytes():
    """Written out from the msgpack specification and openpi's map of an array."""
    message = {"observation/state": np.array([[1.0, -2.0]], dtype="<f4"), "prompt": "go"}
    expected = (
        b"\x82"  # map of 2
        b"\xb1observation/state"  # fixstr of 17
        b"\x84"  # map of 4, keys are bin 8
        b"\xc4\x0b__ndarray__\xc3"  # true
        b"\xc4\x04data\xc4\x08" + np.array([1.0, -2.0], dtype="<f4").tobytes() + b"\xc4\x05dtype\xa3<f4"
        b"\xc4\x05shape\x92\x01\x02"
        b"\xa6prompt\xa2go"
    )
    assert pack(message) == expected


def test_a_numpy_scalar_has_known_bytes():
    expected = b"\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\x07\xc4\x05dtype\xa3<i4"
    assert pack(np.int32(7)) == expected
    assert unpack(expected) == 7
    assert unpack(expected).dtype == np.int32


@given(st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(np.dtype(d), hnp.array_shapes(min_dims=0, min_side=0))))
def test_arrays_survive_the_round_trip(array):
    found = unpack(pack({"x": array}))["x"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_arrays_in_any_memory_order_arrive_as_they_look():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for view in (array.T, array[:, ::2], np.asfortranarray(array)):
        np.testing.assert_array_equal(unpack(pack(view)), view)


def test_received_arrays_are_read_only_views():
    assert not unpack(pack(np.zeros(3))).flags.writeable


@pytest.mark.parametrize(
    "array", [np.zeros(2, complex), np.array([None]), np.zeros(2, [("a", "f4")]), np.complex64(1)], ids=str
)
def test_structured_object_and_complex_arrays_are_refused(array):
    with pytest.raises(ServerError, match="dtype .* is not supported"):
        pack(array)


@pytest.mark.parametrize("dtype", ["|O", "<c8", "i4,i4", "|V8", "no-such-type", 7, None])
def test_a_received_dtype_outside_the_format_is_refused(dtype):
    message = msgpack.packb({b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": dtype, b"shape": [1]})
    with pytest.raises(ServerError, match="dtype .*; expected a plain numeric one"):
        unpack(message)


@pytest.mark.parametrize(
    ("shape", "found"),
    [([3], "8 bytes, expected 12"), ([2**40, 2**40], "8 bytes"), ([-1, -2], "list of sizes"), (2, "list of sizes")],
)
def test_a_shape_that_its_data_cannot_hold_is_refused(shape, found):
    message = msgpack.packb({b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": shape})
    with pytest.raises(ServerError, match=found):
        unpack(message)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_server_error(data):
    try:
        unpack(data)
    except ServerError:
        pass


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_message_never_raises_anything_else(position, value):
    data = bytearray(pack({"observation.state": np.ones((2, 10), np.float32), "__seq__": 3}))
    data[position % len(data)] = value
    try:
        unpack(bytes(data))
    except ServerError:
        pass
