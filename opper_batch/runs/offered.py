"""What the gateway says of a step's models, for a plan: their prices, and whether they are there at all."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property

from opper_batch.calls import Step
from opper_batch.client.offers import Offer, offers, read_offer
from opper_batch.errors import OpperBatchError
from opper_batch.runs.options import Options

_SECONDS = 5.0  # a plan does not wait longer for what it can do without


class Offered:
    """The models of the gateway that is meant, asked for when somebody wants to know; never raises."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.unknown = ""  # why nothing is known

    @cached_property
    def models(self) -> list[Offer]:
        """All of them; none when the gateway does not tell in time, and ``unknown`` says why."""
        if self._options.sandbox:
            from opper_batch.sandbox.catalog import listing

            return list(filter(None, map(read_offer, listing({"limit": "500"})["models"])))
        found: list[Offer] = []
        self.unknown = f"no answer within {_SECONDS:g} s"
        # In a thread of its own: there may be a running event loop here, and a name may take long to resolve.
        asking = threading.Thread(target=self._ask, args=(found,), name="offers", daemon=True)
        asking.start()
        asking.join(_SECONDS + 1)
        return list(found)

    def of(self, step: Step) -> list[Offer]:
        """What is offered of the models that the step names, in its order."""
        return [offer for name in models_of(step) if (offer := self.named(name)) is not None]

    def named(self, name: str) -> Offer | None:
        """The model of that id, else of that alias; dots and dashes are the same."""
        for same in (str, _plain):
            for offer in self.models:
                if same(offer.id) == same(name):
                    return offer
            for offer in self.models:
                if any(same(alias) == same(name) for alias in offer.aliases):
                    return offer
        return None

    def warnings(self, step: Step) -> list[str]:
        """What is wrong with the models that the step names, a sentence each."""
        names = models_of(step)
        if names and not self.models:
            return [f"whether the gateway offers {names[0]} could not be checked: {self.unknown}"]
        return [said for name in names if (said := self._warning(name))]

    def _warning(self, name: str) -> str:
        offer = self.named(name)
        if offer is None:
            near = difflib.get_close_matches(name, [known.id for known in self.models], n=1, cutoff=0.5)
            hint = f"; the nearest is {near[0]}" if near else ""
            return f"{name} is not among the {len(self.models)} models that the gateway lists{hint}"
        if offer.retired_at and _is_past(offer.retired_at):
            successor = f"; its successor is {offer.successor}" if offer.successor else ""
            return f"{name} was retired at {offer.retired_at}{successor}"
        return ""

    def _ask(self, found: list[Offer]) -> None:
        try:
            found += offers(self._options.base_url, seconds=_SECONDS)
            self.unknown = "" if found else "it lists none"
        except OpperBatchError as error:
            self.unknown = error.message
        except (OSError, RuntimeError) as error:  # a plan is worth having without
            self.unknown = str(error)


def models_of(step: Step) -> list[str]:
    """The ids that the step sends, the first one first."""
    model = step.spec.model
    several: Sequence[object] = model if isinstance(model, tuple) else [model]
    return [str(getattr(one, "name", one)) for one in several if one is not None]


def _plain(name: str) -> str:
    return name.lower().replace(".", "-")


def _is_past(date: str) -> bool:
    with suppress(ValueError, TypeError):
        said = datetime.fromisoformat(date)
        return (said if said.tzinfo else said.replace(tzinfo=UTC)) <= datetime.now(UTC)
    return True
