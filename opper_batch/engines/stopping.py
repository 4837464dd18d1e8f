"""When a run stops before its end: decided from how calls ended, without doing anything."""

from __future__ import annotations

from opper_batch.budget import Budget
from opper_batch.errors import AccessRefused, OpperBatchError, Refused, RunStopped
from opper_batch.records import Outcome

_OUTAGE = 20  # calls in a row that got no answer at all, after every attempt


class Stopping:
    """Watches outcomes in the order they come. ``proven``: the gateway has taken such a call before."""

    def __init__(self, *, proven: bool) -> None:
        self._proven = proven
        self._unanswered = 0

    def prove(self) -> None:
        """The gateway takes what every call shares."""
        self._proven = True

    def after(self, outcome: Outcome) -> OpperBatchError | None:
        """Why nothing more is to be sent after this outcome; None to go on."""
        if outcome.cause == "gateway":
            self._unanswered += 1
            if self._unanswered >= (_OUTAGE if self._proven else 1):
                return RunStopped(f"the gateway does not answer ({outcome.error}); run again to go on")
            return None
        self._unanswered = 0
        if outcome.cause == "refused" and not self._proven:
            return Refused(f"the gateway refused the first call, so nothing else was sent: {outcome.error}")
        self.prove()
        return None


def no_access(error: AccessRefused) -> OpperBatchError:
    """What a 401, 402 or 403 means for the run."""
    if error.status == 402:
        return RunStopped(f"the gateway's budget is used up ({error.message}); run again when it is lifted")
    return Refused(
        f"the gateway refuses the key or the model ({error.message}); set a key that may, and run again"
    )


def late() -> OpperBatchError:
    return RunStopped("the deadline has passed; run again to go on")


def over_budget(budget: Budget) -> OpperBatchError:
    return RunStopped(
        f"the budget of ${budget.cap or 0:g} is reached (${budget.paid:.4f} paid); "
        "run again with a higher --max-cost to go on"
    )
