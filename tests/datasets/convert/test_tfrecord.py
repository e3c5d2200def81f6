"""The wire format of tfrecord files and of Examples, by hand-made bytes."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.rlds.tfrecord import index_records, parse_example, read_record

sys.path.append(str(Path(__file__).parent))
from tfrecord_bytes import example, field, framed, masked, varint


def test_the_known_crc_of_a_record_header():
    # TFRecord header of a record of 144644 bytes, from TensorFlow
    assert masked(struct.pack("<Q", 144644)) == struct.pack("<I", 2731483020)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.floats(width=32, allow_nan=False)), st.lists(st.binary())
)
def test_examples_are_parsed_as_they_were_written(integers, floats, blobs):
    found = parse_example(example(i=np.array(integers, np.int64), f=np.array(floats, np.float32), b=blobs))
    assert found["i"].tolist() == integers
    assert found["f"].tolist() == np.array(floats, np.float32).tolist()
    assert list(found["b"]) == blobs


def test_numbers_that_are_not_packed_are_read_too():
    ints = field(3, b"".join(b"\x08" + varint(v) for v in (5, 300)))
    floats = field(2, b"".join(b"\x0d" + struct.pack("<f", v) for v in (0.5, -2.0)))
    message = field(1, field(1, field(1, b"i") + field(2, ints)) + field(1, field(1, b"f") + field(2, floats)))
    found = parse_example(message)
    assert (found["i"].tolist(), found["f"].tolist()) == ([5, 300], [0.5, -2.0])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_example_or_a_value_error(data):
    try:
        parse_example(data)
    except (ValueError, UnicodeDecodeError):
        pass


def test_records_are_found_and_checked(tmp_path):
    file = tmp_path / "a.tfrecord"
    file.write_bytes(framed(b"first") + framed(b"second one"))
    found, trouble = index_records(file)
    assert ([read_record(file, *place) for place in found], trouble) == ([b"first", b"second one"], None)
    content = bytearray(file.read_bytes())
    content[found[1][0]] ^= 1
    file.write_bytes(content)
    assert index_records(file)[0] == found
    with pytest.raises(DatasetError, match="does not have its checksum"):
        read_record(file, *found[1])


@pytest.mark.parametrize("cut", [3, 11, 16, 20])
def test_a_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path, cut):
    file = tmp_path / "a.tfrecord"
    whole = framed(b"first")
    file.write_bytes(whole + framed(b"second one")[:cut])
    found, trouble = index_records(file)
    assert ([read_record(file, *place) for place in found], trouble) == ([b"first"], "ends in the middle of record 1")


def test_a_length_is_believed_only_with_its_checksum(tmp_path):
    file = tmp_path / "a.tfrecord"
    content = bytearray(framed(b"first") + framed(b"second"))
    content[len(framed(b"first")) + 6] = 0x7F  # a length of 2**54
    file.write_bytes(content)
    found, trouble = index_records(file)
    assert len(found) == 1
    assert trouble == "is damaged at byte 21, in the header of record 1"
