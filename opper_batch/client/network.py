"""Which transport carries the calls.

Calls a second and milliseconds of CPU a call, 1 KB out and 600 B in, on two cores that client and server
share (``python -m tests.benchmarks.transports``; the pools of httpx and httpx2 were cut off after 8 s; the
last two rows are of one later run, the connections of lean reading into a buffer that they share):

                          256 at 300 ms     1,024 at 300 ms      64 at 0 ms
    httpx's own pool        40   24.7              –               400   2.50
    httpx2's own pool      572    1.63             –               920   1.09
    httpx, one each        582    0.82          802   0.86        1200   0.70
    httpx-aiohttp          781    0.33         2280   0.36        3954   0.24
    pyreqwest              807    0.20         2796   0.11       10502   0.07
    aiohttp                822    0.15         2610   0.27        5667   0.18
    lean                   839    0.07         3189   0.06       29334   0.03

The whole program, 10,000 rows: 5.9 s of CPU over aiohttp, 6.0 over pyreqwest, 4.9 over ``LeanTransport`` at
256 in flight; at 0 ms 5.6 s, 4.7 s and 4.1 s from start to end. aiohttp would also add a tenth of a second
to every start, and seven packages. So the one hot path goes beneath httpx, over asyncio's connections and
llhttp's parser (``httptools``); proxies are left to httpx, and ``OPPER_BATCH_TRANSPORT=httpx`` leaves it all.
"""

from __future__ import annotations

import os

from opper_batch.client.lean import LeanTransport
from opper_batch.client.over_httpx import HttpxTransport
from opper_batch.client.transport import READ_SECONDS, Transport
from opper_batch.errors import DefinitionError

_CHOICE = "OPPER_BATCH_TRANSPORT"
_KINDS: dict[str, type[LeanTransport] | type[HttpxTransport]] = {
    "": LeanTransport,
    "lean": LeanTransport,
    "httpx": HttpxTransport,
}


def network(*, direct: bool = False, seconds: float = READ_SECONDS) -> Transport:
    """The transport that ``OPPER_BATCH_TRANSPORT`` asks for; ``direct`` goes past the environment's proxies.

    An exchange takes at most ``seconds``. DefinitionError when there is no such transport.
    """
    asked = os.environ.get(_CHOICE, "").strip()
    if asked not in _KINDS:
        raise DefinitionError(f"{_CHOICE} is {asked!r}; say lean or httpx, or leave it out")
    return _KINDS[asked](direct=direct, seconds=seconds)
