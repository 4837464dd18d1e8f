"""What a run meets outside itself, as parameters: time, chance, the network, the disk, and threads."""

from __future__ import annotations

import asyncio
import queue
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opper_batch.client import Transport, network
from opper_batch.client.downloads import Downloads
from opper_batch.engines.local import Handed
from opper_batch.ledger import Ledger


@dataclass(frozen=True, slots=True)
class World:
    """The real one; what is put in its place is what a run is simulated with.

    ``clock`` is in seconds and never goes back, ``chance`` gives numbers from 0 to below 1. ``loop`` is the
    engine's event loop, ``handed`` the queue from there to the caller's thread.
    """

    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    network: Callable[..., Transport] = network
    downloads: Callable[..., Downloads] = Downloads
    ledger: Callable[[Path], Ledger] = Ledger
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    handed: Callable[[], Handed] = queue.SimpleQueue


REAL = World()
