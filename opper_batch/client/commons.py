"""What is known of a key's limit, in one small file: for the next run, and for all who use the key now.

The file holds the numbers of ``pace`` and what was last learned. Processes of this machine find it by a
digest of gateway and key, never of the model: gateways count calls by key, and processes that slow down for
each other's models lose less than such that refuse each other. Each process holds a lock on its own byte,
which the system frees when it dies, so nobody waits for the dead. A process that is alone only looks a few
times a second whether somebody has joined; one that is not reads and writes the file at every call.

Whatever is wrong with the file or its folder, and whenever that begins, a run goes on alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import struct
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from opper_batch.pace import Learned

BELIEVED_SECONDS = 24 * 3600.0  # a limit learned yesterday is a good start; it is found anew if it changed
_KEPT_SECONDS = 30 * 24 * 3600.0
_SUFFIX = ".limit"

_MOST = 48  # numbers
_MAGIC = b"obpace1\0"
_HEAD = struct.Struct("=8sQ")  # magic, how many have joined
_LEARNED = struct.Struct("=5d")  # when (seconds since 1970), and what
_AT_LEARNED = _HEAD.size
_AT_NUMBERS = _AT_LEARNED + _LEARNED.size
_SIZE = _AT_NUMBERS + 8 * (1 + _MOST)  # the first of them says how many there are

# Bytes beyond the file that are locked: one while numbers are changed, one by each process.
_TURN = 4096
_SLOTS = range(8192, 8192 + 64)
_LOOK_SECONDS = 0.2  # how often it is looked who is there
# A turn takes some 20 µs. Whoever holds it for longer than this was stopped in it, or has to wait for a
# processor: the others go on without it, and for a while do not wait for it again.
_TURN_SECONDS = 0.005
_NAP_SECONDS = 0.0002
_STUCK_SECONDS = 1.0
_UNUSABLE = (OSError, ValueError)  # ValueError: fcntl's word for a file that has been left

# Files this process has open: closing one again would free the locks of whoever has it open here.
_OPEN: set[str] = set()


def folder() -> Path:
    """``OPPER_BATCH_LIMITS``, or ``opper_batch`` in the user's state folder."""
    if said := os.environ.get("OPPER_BATCH_LIMITS"):
        return Path(said)
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "opper_batch"


class Commons:
    """The file of one gateway and key, from ``join`` to ``leave``."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file
        self._slot = 0
        self._joined = 0
        self._alone = True
        self._mine = True  # what this process knows is newer than what the file says
        self._look_at = -math.inf
        self._stuck_until = -math.inf

    @classmethod
    def join(cls, origin: str, key: str, *, within: Path | None = None) -> Commons | None:
        """Join those who use this key, or be the first; None where that cannot be done.

        In one process only the first of several runs at the same time does.
        """
        name = hashlib.blake2b(f"{origin}\n{key}".encode(), digest_size=16).hexdigest()
        try:
            place = within or folder()
            path = place / (name + _SUFFIX)
            if str(path) in _OPEN:
                return None
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except (OSError, RuntimeError):  # RuntimeError: nobody knows where home is
            return None
        commons = cls(path, file)
        try:
            commons._enter()
        except (OSError, ValueError, StopIteration, struct.error):
            os.close(file)
            return None
        _OPEN.add(str(path))
        _sweep(place, but=path)
        return commons

    @property
    def learned(self) -> Learned | None:
        """What was learned last, when that is not too long ago and makes sense."""
        try:
            stamp, *numbers = _LEARNED.unpack(os.pread(self._file, _LEARNED.size, _AT_LEARNED))
        except (OSError, struct.error):
            return None
        learned = Learned(*numbers)
        sane = all(math.isfinite(number) and 0 <= number < 1e6 for number in learned) and learned.share < 0.5
        return learned if sane and 0 <= time.time() - stamp < BELIEVED_SECONDS else None

    def keep(self, learned: Learned) -> None:
        """For the next run."""
        with suppress(OSError):
            os.pwrite(self._file, _LEARNED.pack(time.time(), *learned), _AT_LEARNED)

    @property
    def busy(self) -> bool:
        """Whether another process uses the key now."""
        now = time.monotonic()
        if now > self._look_at:
            self._look_at = now + _LOOK_SECONDS
            try:
                self._look()
            except _UNUSABLE:
                self._go_on_alone()
        return not self._alone

    def take(self) -> tuple[float, ...] | None:
        """The numbers, locked until ``put``; None when nobody has put any, or ours are newer."""
        try:
            self._await_turn()
            read = b"" if self._mine else os.pread(self._file, _SIZE, _AT_NUMBERS)
        except _UNUSABLE:
            self._go_on_alone()
            return None
        count = int(struct.unpack_from("=d", read)[0]) if len(read) > 8 else 0
        if not 0 < count <= min(_MOST, len(read) // 8 - 1):
            return None
        return _doubles(count).unpack_from(read, 8)

    def put(self, numbers: tuple[float, ...]) -> None:
        """Write the numbers and let the others have their turn."""
        try:
            os.pwrite(self._file, _doubles(1 + len(numbers)).pack(len(numbers), *numbers), _AT_NUMBERS)
            self._mine = False
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)
        except _UNUSABLE:
            self._go_on_alone()

    def leave(self) -> None:
        """The others go on without us."""
        _OPEN.discard(str(self.path))
        file, self._file = self._file, -1  # its number may soon be that of somebody else's file
        with suppress(OSError):
            os.close(file)  # which frees every lock

    def _enter(self) -> None:
        if not self._locks(_TURN):
            time.sleep(0.01)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _TURN)
        self._slot = next(place for place in _SLOTS if self._locks(place))
        others = self._others()
        os.ftruncate(self._file, _SIZE)
        magic, joined = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0))
        if magic != _MAGIC:
            os.pwrite(self._file, bytes(_SIZE), 0)
            joined = 0
        if not others:  # numbers of the dead are no use, and their clock may have been another
            os.pwrite(self._file, bytes(8), _AT_NUMBERS)
        self._joined = (joined + 1) % 2**32
        os.pwrite(self._file, _HEAD.pack(_MAGIC, self._joined), 0)
        self._alone = self._mine = not others
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)

    def _look(self) -> None:
        read = os.pread(self._file, _HEAD.size, 0)
        joined = _HEAD.unpack(read)[1] if len(read) == _HEAD.size else self._joined
        if joined != self._joined or not self._alone:
            self._joined = joined
            self._alone = not self._others()
            self._mine = self._mine or self._alone

    def _await_turn(self) -> None:
        """Usually the turn is free. Without it two may take the same place, which does little harm."""
        if self._locks(_TURN):
            return
        now = time.monotonic()
        if now < self._stuck_until:
            return
        end = now + _TURN_SECONDS
        while time.monotonic() < end:
            time.sleep(_NAP_SECONDS)
            if self._locks(_TURN):
                return
        self._stuck_until = end + _STUCK_SECONDS

    def _go_on_alone(self) -> None:
        """The disk is gone, or full: nothing is looked at any more."""
        self._alone, self._mine, self._look_at = True, True, math.inf
        with suppress(*_UNUSABLE):  # or the others would wait for us
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)

    def _locks(self, place: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # somebody has it; systems differ in how they say so
            return False
        return True

    def _others(self) -> bool:
        """Whether anybody else holds the byte that a process holds while it is there."""
        for place in _SLOTS:
            if place != self._slot:
                if not self._locks(place):
                    return True
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
        return False


@lru_cache
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f"={count}d")


def _sweep(place: Path, *, but: Path) -> None:
    """Remove what nobody has used for a month."""
    with suppress(OSError):
        for path in place.glob("*" + _SUFFIX):
            if path != but and time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink(missing_ok=True)
