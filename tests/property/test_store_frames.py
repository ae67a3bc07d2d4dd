"""Any way of cutting the bytes to the writer gives the same requests."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from datakit_core.store.objects import ObjectKind, new_object
from datakit_core.store.requests import Frames, Write, decode_request, encode_request


@given(
    contents=st.lists(st.lists(st.binary(max_size=50), max_size=3), max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
)
def test_any_split_of_the_bytes_gives_the_same_requests(
    contents: list[list[bytes]], cuts: list[int]
) -> None:
    requests = [
        Write(tuple(new_object(ObjectKind.BLOB, data) for data in blobs)) for blobs in contents
    ]
    stream = b"".join(piece for request in requests for piece in encode_request(request))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    frames = Frames()
    received = [
        decode_request(frame)
        for start, end in pairwise(edges)
        for frame in frames.feed(stream[start:end])
    ]
    assert received == requests
