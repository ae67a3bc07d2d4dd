"""The client's end of a connection, without one."""

from __future__ import annotations

import pytest

from datakit_core.errors import Disconnected
from datakit_core.ninep.calls import Calls
from datakit_core.ninep.messages import Tflush
from datakit_core.ninep.wire import Tag


@pytest.mark.parametrize("reason", [None, ConnectionResetError(104, "Connection reset by peer")])
async def test_however_a_connection_ends_it_has_ended(reason: Exception | None) -> None:
    calls = Calls(8192)
    calls.connection_lost(reason)
    with pytest.raises(Disconnected, match=r"^the connection to the server has ended$") as raised:
        calls.post(Tflush(Tag(1)), lambda reply: None)
    lost = raised.value.__cause__
    assert lost is not None
    assert lost.__cause__ is reason
