import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ServerError
from robolearn.serving.decoder import MAX_DEPTH, MAX_TEXT, MAX_VALUES, Decoder


def decode(data: bytes):
    return Decoder(data).message()


def packed(value) -> bytes:
    return msgpack.packb(value)


def scalar(dtype, data) -> bytes:
    return packed({b"__npgeneric__": True, b"data": data, b"dtype": dtype})


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.text() | st.binary().filter(lambda key: not key.startswith(b"__")), inner, max_size=8)
    ),
    max_leaves=20,
)


@given(PLAIN)
@pytest.mark.slow
def test_plain_values_are_what_msgpack_reads(value):
    data = packed(value)
    assert decode(data) == msgpack.unpackb(data) == value


@given(PLAIN.filter(lambda value: not isinstance(value, int | None)), st.data())
@pytest.mark.slow
def test_a_message_that_is_cut_anywhere_is_refused(value, data):
    whole = packed(value)
    with pytest.raises(ServerError, match="it ends too early"):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_bytes_behind_the_message_are_refused():
    with pytest.raises(ServerError, match="A message of 3 bytes is not valid msgpack: 2 bytes follow its end"):
        decode(packed(1) + b"\x01\x02")


@pytest.mark.parametrize("single", [np.float32(1.5), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)], ids=repr)
def test_numpy_scalars_keep_value_and_type(single):
    found = decode(scalar(single.dtype.str, single.item()))
    assert (found, found.dtype) == (single, single.dtype)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (scalar("|S4000000000", 4_000_000_000), "dtype '|S4000000000'"),
        (scalar("|S9", 4_000_000_000), "value 4000000000"),
        (scalar("<U9", 7), "value 7"),
        (scalar("<f4", [1.0, 2.0]), "value"),
        (scalar("<i2", "9" * 5000), "value '99"),
        (scalar("|i1", 128), "value 128, outside its range"),
        (scalar("|u1", -1), "value -1, outside its range"),
        (scalar("<M8[ns]", 5), "dtype '<M8"),
        (scalar("i4," * 200_000, 0), "dtype 'i4,"),
        (packed({b"__npgeneric__": True}), "dtype None"),
    ],
)
def test_a_scalar_costs_no_more_than_a_number(data, found):
    """np.bytes_(n) would make n bytes of a message of 58."""
    tracemalloc.start()
    with pytest.raises(ServerError) as caught:
        decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found in str(caught.value)
    assert len(str(caught.value)) < 300
    assert peak < 2 * len(data) + 100_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packed([{}] * (MAX_VALUES + 1)), f"too large: it has more than {MAX_VALUES} values; send .* as one array"),
        (packed({str(i): i for i in range(MAX_VALUES // 2 + 1)}), "too large: it has more"),
        (packed([[0] * 200] * 200), "too large: it has more"),
        (b"\xdd\xff\xff\xff\xff", "too large: it has more"),
        (b"\xdf\xff\xff\xff\xff", "too large: it has more"),
        (nested(MAX_DEPTH + 1), f"too deep: more than {MAX_DEPTH} lists and maps in one another"),
        (nested(100_000), "too deep"),
        (packed(["a" * (MAX_TEXT // 2)] * 2 + ["a"]), f"too large: its texts have more than {MAX_TEXT} bytes"),
        (b"\xdb\xff\xff\xff\xff", "too large: its texts"),
        (b"\xc6\xff\xff\xff\xff", "ends too early"),
        (b"\xc1", "the byte 0xc1"),
        (packed(msgpack.ExtType(5, b"x")), "an extension type"),
        (packed(msgpack.Timestamp(1)), "an extension type"),
        (packed({1: 2}), "a map has a key of type int, expected a text"),
        (b"\xa2\xff\xfe", "a text in it is not UTF-8"),
        (b"", "it ends too early"),
    ],
)
def test_what_a_message_may_hold_is_limited_by_name(data, reason):
    with pytest.raises(ServerError, match=f"A message of {len(data)} bytes is .*{reason}"):
        decode(data)


def test_the_limits_themselves_are_allowed():
    assert decode(packed([0] * MAX_VALUES)) == [0] * MAX_VALUES
    assert decode(nested(MAX_DEPTH)) == msgpack.unpackb(nested(MAX_DEPTH))
    assert decode(packed("a" * MAX_TEXT)) == "a" * MAX_TEXT


def test_what_is_refused_is_refused_before_it_is_built():
    data = packed([{}] * 1_000_000)
    tracemalloc.start()
    with pytest.raises(ServerError):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 10_000
    tracemalloc.stop()


def test_an_array_may_have_its_keys_in_any_order():
    expected = np.array([[1, 2, 3]], "<i4")
    pairs = [(b"__ndarray__", True), (b"data", expected.tobytes()), (b"dtype", "<i4"), (b"shape", [1, 3])]
    for first in range(4):
        found = decode(packed(dict(pairs[first:] + pairs[:first])))
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable


def test_pictures_are_not_copied_and_wide_numbers_are_aligned():
    picture = {b"__ndarray__": True, b"data": b"\x07" * 12, b"dtype": "|u1", b"shape": [2, 2, 3]}
    numbers = {b"__ndarray__": True, b"data": b"\0" * 16, b"dtype": "<f8", b"shape": [2]}
    for shift in range(8):
        data = packed({"x" * shift: 0, "picture": picture, "numbers": numbers})
        found = decode(data)
        assert np.shares_memory(found["picture"], np.frombuffer(data, np.uint8))
        assert found["numbers"].flags.aligned


@pytest.mark.parametrize(
    ("dtype", "data", "shape", "reason"),
    [
        ("|u1", b"", [0, 2**63, 2**63], "shape"),
        ("|u1", b"", [2**64 - 1] * 9_000, "a list of sizes, at most 32 of them"),
        ("|u1", b"\0", [1] * 33, "a list of sizes, at most 32 of them"),
        ("|u1", b"\0", [True], "a list of sizes"),
        ("|u1", b"\0", ["1"], "a list of sizes"),
        ("|u1", "text", [4], "data is of type str, expected bytes"),
        ("|S0", b"", [2**40], r"dtype '\|S0'"),
        ("(1000000000,)f4", b"", [0], "dtype"),
        ("f4,f4", b"\0" * 8, [1], "dtype"),
        ("O", b"\0" * 8, [1], "dtype 'O'"),
        ("<f16", b"\0" * 16, [1], "dtype '<f16'"),
        ("f4" * 300_000, b"", [0], "dtype 'f4f4"),
        (["<f4"], b"\0" * 4, [1], "dtype"),
    ],
)
def test_an_array_that_cannot_be_is_refused_shortly(dtype, data, shape, reason):
    message = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}
    with pytest.raises(ServerError, match=reason) as caught:
        decode(packed(message))
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_value_or_a_server_error(data):
    try:
        decode(data)
    except ServerError:
        pass


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_its_dtype_is_infinite_and_warns_nobody():
    assert np.isinf(decode(scalar("<f2", 10**10)))
