"""When a run stops before its end: decided from how calls ended, without doing anything."""

from __future__ import annotations

from opper_batch.errors import AccessRefused, OpperBatchError, Refused, RunStopped
from opper_batch.pace import Outage
from opper_batch.records import Outcome


class Stopping:
    """Watches outcomes in the order they come. ``proven``: the gateway has taken such a call before.

    ``outage`` says when a gateway that fails at calls is given up.
    """

    def __init__(self, outage: Outage, *, proven: bool) -> None:
        self.proven = proven
        self._outage = outage

    def prove(self) -> None:
        """The gateway takes what every call shares."""
        self.proven = True

    def after(self, outcome: Outcome) -> OpperBatchError | None:
        """Why nothing more is to be sent after this outcome; None to go on."""
        if outcome.cause == "gateway":
            if self._outage.call_failed(proven=self.proven):
                says = "does not answer" if outcome.reply is None else "fails at every call"
                return RunStopped(f"the gateway {says} ({outcome.error}); run again to go on")
            return None
        self._outage.call_settled()
        if outcome.cause == "refused" and not self.proven:
            return Refused(
                f"the gateway refused the first call it answered, so nothing else was sent: {outcome.error}"
            )
        self.prove()
        return None


def no_access(error: AccessRefused) -> OpperBatchError:
    """What a 401, 402 or 403 means for the run."""
    if error.status == 402:
        return RunStopped(f"the gateway's budget is used up ({error.message}); run again when it is lifted")
    return Refused(
        f"the gateway refuses the key or the model ({error.message}); "
        "set OPPER_API_KEY to one that may use it, then run again"
    )


def late() -> OpperBatchError:
    return RunStopped("the deadline has passed; run again to go on")
