"""What a step's budget begins with: the prices of its calls of late, and what earlier runs left in doubt."""

from __future__ import annotations

from opper_batch.budget import Budget
from opper_batch.calls import Step
from opper_batch.ledger import View
from opper_batch.runs.expecting import least_cost
from opper_batch.runs.offered import Offered
from opper_batch.runs.options import Options
from opper_batch.runs.setting import Setting


def learn_costs(budget: Budget, setting: Setting, number: int, view: View, options: Options) -> None:
    """Tell the budget what this step's calls cost of late; where nobody knows, what they cost at least.

    What nobody knows of earlier runs is valued at the dearest of all steps, since the steps are not known.
    """
    step = setting.steps[number]
    recent = _recent_costs(step, view)
    least = 0.0 if recent or budget.cap is None else least_cost(step, Offered(options))
    budget.begin_step(recent, least=least)
    if not number:
        dearest = max(max(_recent_costs(other, view), default=0.0) for other in setting.steps)
        budget.doubt(view.spent()[1], dearest)


def _recent_costs(step: Step, view: View) -> list[float]:
    return view.recent_costs(view.template(step.template.digest))
