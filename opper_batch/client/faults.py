"""How faults of the network and of this machine are told, and whether a request may have been paid."""

from __future__ import annotations

import errno
import ssl

import httpx

from opper_batch.errors import BadReply, MachineError, Unreachable
from opper_batch.text import printable, shortened


def out_of_files(error: BaseException | None) -> bool:
    """Whether this process, or the machine, had no file descriptor left at the bottom of ``error``."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(out_of_files, error.exceptions))
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    return error is not None and out_of_files(error.__cause__ or error.__context__)


def too_many_files() -> MachineError:
    return MachineError(
        "no more files or connections can be opened; raise `ulimit -n` or lower --concurrency, and run again"
    )


def unreachable(error: BaseException, *, paid: bool) -> MachineError | Unreachable:
    """What an exchange that broke with ``error`` is raised as; never quotes what was sent."""
    if out_of_files(error):
        return too_many_files()
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is refused: {error.verify_message}"
    else:
        reason = str(error)
    return Unreachable(f"no answer: {shortened(printable(reason)) or type(error).__name__}", paid=paid)


def too_late(seconds: float) -> Unreachable:
    return Unreachable(f"no answer in {seconds:g} s", paid=True)


def unusable_proxy(error: Exception) -> MachineError:
    """Never quotes an address that cannot be read, for what it takes for the port may be a password."""
    reason = "its address cannot be read" if isinstance(error, httpx.InvalidURL) else error
    return MachineError(f"the environment names a proxy that cannot be used: {reason}")


def too_much_framing() -> BadReply:
    return BadReply("the gateway's answer is nearly all framing: endless headers, or chunks of a few bytes")


def too_large(cap: int) -> BadReply:
    return BadReply(f"the gateway's answer is larger than {cap / 1024 / 1024:g} MB")
