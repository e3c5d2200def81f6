from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from robolearn.serving.frames import FrameFollower

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG]),
        st.integers(0, 120) | st.sampled_from([125]),
        st.booleans(),
    ).map(lambda frame: Frame(frame[0], bytes(frame[1]), frame[2] or frame[0] > 2)),
    max_size=8,
)


def serialized(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=True) for frame in frames)


@given(FRAMES, st.data())
def test_payload_and_rest_are_the_same_however_the_stream_is_cut(frames, data):
    stream, follower = serialized(*frames), FrameFollower()
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        follower.feed(stream[at : at + size])
        at += size
    assert follower.remaining == 0
    assert follower.data == sum(len(frame.data) for frame in frames if frame.opcode < 3)
    assert follower.controls == sum(frame.opcode > 2 for frame in frames)


def test_the_rest_of_a_long_frame_is_known_from_its_header():
    for size in (10, 126, 65535, 65536, 5_000_000):
        stream, follower = serialized(Frame(Opcode.BINARY, bytes(size))), FrameFollower()
        header = len(stream) - size
        follower.feed(stream[:header])
        assert follower.remaining == size
        follower.feed(stream[header : header + 7])
        assert (follower.remaining, follower.data) == (size - 7, 7)


def test_pieces_of_a_message_are_counted_and_pings_between_them_are_not():
    follower = FrameFollower()
    counts = []
    for frame in (
        Frame(Opcode.BINARY, b"a", fin=False), Frame(Opcode.PING, b""), Frame(Opcode.CONT, b"", fin=False),
        Frame(Opcode.CONT, b"", fin=False), Frame(Opcode.CONT, b"b", fin=True), Frame(Opcode.BINARY, b"c"),
    ):  # fmt: skip
        follower.feed(serialized(frame))
        counts.append(follower.pieces)
    assert counts == [1, 1, 2, 3, 0, 0]
