"""What a step's budget begins with: the prices of its calls of late, and what earlier runs came to."""

from __future__ import annotations

from opper_batch.budget import Budget
from opper_batch.calls import Step
from opper_batch.ledger import View
from opper_batch.protocol import decode
from opper_batch.runs.expecting import least_cost
from opper_batch.runs.offered import Offered
from opper_batch.runs.options import Options
from opper_batch.runs.setting import Setting


def spent_before(view: View) -> tuple[float, int]:
    """Since the last run that published: USD paid as far as it is known, and requests of unknown cost.

    What the 202s cost that have not ended is among them.
    """
    paid, unknown = view.spent()
    begun = [decode(202, {}, reply).usage.cost for reply in view.unrecorded()]
    return paid + sum(filter(None, begun)), unknown + begun.count(None)


def learn_costs(budget: Budget, setting: Setting, number: int, view: View, options: Options) -> None:
    """Tell the budget what this step's calls cost of late; where nobody knows, what they cost at least.

    The first step's also what earlier runs paid. What nobody knows of them is valued at the dearest of all
    steps, since the steps are not known.
    """
    step = setting.steps[number]
    recent = _recent_costs(step, view)
    least = 0.0 if recent or budget.cap is None else least_cost(step, Offered(options))
    budget.begin_step(recent, least=least)
    if not number:
        paid, unknown = spent_before(view)
        budget.spend(paid)
        dearest = max(max(_recent_costs(other, view), default=0.0) for other in setting.steps)
        budget.doubt(unknown, dearest)


def _recent_costs(step: Step, view: View) -> list[float]:
    return view.recent_costs(view.template(step.template.digest))
