"""The way that a read takes from a frame to its reply: no coroutine, no task, no waiting."""

from __future__ import annotations

from datakit_core.dbfs import DatabaseFiles
from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.dialect import PLAIN
from datakit_core.ninep.messages import (
    Record,
    Rread,
    Tattach,
    Tclunk,
    Topen,
    Tread,
    Tstat,
    Tversion,
    Twalk,
)
from datakit_core.ninep.session import Session
from datakit_core.ninep.wire import NO_FID, Fid, Tag
from datakit_core.store import Store


async def test_a_committed_file_is_walked_to_and_read_at_once(store: Store) -> None:
    transaction = store.transaction("master")
    transaction.tree.put("src/deep/file", b"content")
    head = await transaction.commit()
    sent: list[bytes] = []
    session = Session(DatabaseFiles(store).connect(), sent.append)
    codec = codec_for(PLAIN)

    def answer(request: Record) -> Record:
        frame = session.receive(codec.encode(Tag(1), request))
        assert isinstance(frame, bytes), f"{request} was not answered at once"
        return codec.decode(frame)[1]

    answer(Tversion(8192, "9P2000"))
    answer(Tattach(Fid(0), NO_FID, "", ""))
    for path in (
        ("branch", "master", "ro", "src", "deep", "file"),
        ("snapshots", head, "ro", "src", "deep", "file"),
        ("branch", "master", "head"),
        ("branch", "master", "head.live"),
    ):
        answer(Twalk(Fid(0), Fid(1), path))
        answer(Tstat(Fid(1)))
        answer(Topen(Fid(1), 0))
        assert answer(Tread(Fid(1), 0, 100)) in (Rread(b"content"), Rread(f"{head}\n".encode()))
        answer(Tclunk(Fid(1)))
    assert sent == []
