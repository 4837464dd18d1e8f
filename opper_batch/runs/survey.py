"""The rows of one step, counted by what the ledger knows of them, and those that a pilot asks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from opper_batch.calls import Policy, Questions, Step
from opper_batch.forecast import Lengths
from opper_batch.ledger import View
from opper_batch.projection import Projected
from opper_batch.records import Call
from opper_batch.runs.setting import Setting
from opper_batch.seen import Seen


class Survey:
    """Goes over the rows of a step batch by batch; keeps numbers, whatever the table's length.

    ``rows = new + changed + known + folded + failed + waiting``. ``rest`` are the lengths of the requests
    that would be sent, ``lengths`` those of the calls ``sampled``, by key. ``sizes`` counts the calls by
    their length's size class.
    """

    def __init__(
        self, setting: Setting, step: Step, view: View, policy: Policy, sampled: Sequence[bytes] = ()
    ) -> None:
        self.rows = self.new = self.changed = self.known = 0
        self.folded = self.failed = self.waiting = self.calls = 0
        self.first: Call | None = None
        self.rest = Lengths()
        self.lengths: dict[bytes, int] = dict.fromkeys(sampled, 0)
        self.sizes: Counter[int] = Counter()
        self._step = step
        self._view = view
        self._policy = policy
        self._seen = Seen()
        self._fixed = len(step.template.body(b""))
        self._identities = setting.identities
        self._published = setting.published if view.template(step.template.digest) else ()

    def wanted(self, projected: Projected) -> list[Call]:
        """Count a batch; gives its calls that would be asked."""
        asked = projected.questions(self._step)
        repeated = self._seen.add(asked.keys)
        settled = self._view.settled(list({key for key in asked.keys if key}))
        wanted = []
        for row, (key, again) in enumerate(zip(asked.keys, repeated, strict=True)):
            found = settled.get(key) if key else None
            self._count(key, again, found, self.rows + row)
            if key and not again and self._policy.wants(found):
                wanted.append(Call(key, asked.inputs[row]))
        self.rows += len(asked)
        self._measure(asked, wanted)
        if None in asked.keys:
            self._await(projected)
        return wanted

    def _count(self, key: bytes | None, again: bool, found: tuple[bool, int, int] | None, row: int) -> None:
        if key is None:
            self.waiting += 1
        elif again:
            self.folded += 1
        elif found is None:
            changed = bool(self._identities) and self._identities[row] in self._published
            self.changed += changed
            self.new += not changed
        else:
            self.known += found[0]
            self.failed += not found[0]

    def _measure(self, asked: Questions, wanted: Sequence[Call]) -> None:
        self.first = self.first or next(filter(None, asked), None)
        self.calls += len(wanted)
        for call in wanted:
            length = len(call.input)
            self.rest.add(length + self._fixed)
            self.sizes[_size(length)] += 1
        if self.lengths:
            for key, text in zip(asked.keys, asked.inputs, strict=True):
                if key in self.lengths:
                    self.lengths[key] = len(text) + self._fixed

    def _await(self, projected: Projected) -> None:
        """Rows that wait for an earlier step: as long as they are without its answer."""
        for length in projected.waiting_lengths(self._step):
            self.rest.add(length + self._fixed)


def surveyed(
    setting: Setting, number: int, view: View, policy: Policy, sampled: Sequence[bytes] = ()
) -> Survey:
    """All rows of a step."""
    survey = Survey(setting, setting.steps[number], view, policy, sampled)
    for projected in setting.projected(setting.steps[:number], view):
        survey.wanted(projected)
    return survey


def pilot_calls(setting: Setting, number: int, view: View, policy: Policy, pilot: int) -> list[Call]:
    """What a pilot of so many rows asks beside what is known of the step's prompt already."""
    template = view.template(setting.steps[number].template.digest)
    known = view.totals(template=template)
    missing = pilot - known.ok - known.failed
    return list(_chosen(setting, number, view, policy, missing)) if missing > 0 else []


def _chosen(setting: Setting, number: int, view: View, policy: Policy, most: int) -> Iterator[Call]:
    """At most ``most`` of the calls that a step would ask, evenly over the source and over their lengths.

    They are ranked by class of length and, within it, by place in the source; those at even distances in
    the ranking are chosen. There are as many classes as calls in a class, so both are covered alike.
    """
    sizes = surveyed(setting, number, view, policy).sizes
    ranking = _Ranking(sizes, classes=max(1, round(math.sqrt(most))))
    ranks = {int((place + 0.5) * sizes.total() / most) for place in range(min(most, sizes.total()))}
    if most >= sizes.total():
        ranks = set(range(sizes.total()))
    survey = Survey(setting, setting.steps[number], view, policy)
    for projected in setting.projected(setting.steps[:number], view):
        yield from (call for call in survey.wanted(projected) if ranking.next(len(call.input)) in ranks)


class _Ranking:
    """The place of each call in the order of length class and appearance."""

    def __init__(self, sizes: Counter[int], *, classes: int) -> None:
        self._class: dict[int, int] = {}
        self._next = [0] * (classes + 1)
        before = 0
        for size in sorted(sizes):
            its_class = min(classes - 1, before * classes // sizes.total())
            self._class[size] = its_class
            before += sizes[size]
            self._next[its_class + 1] = before
        for number in range(1, classes + 1):  # a class may be empty
            self._next[number] = max(self._next[number], self._next[number - 1])

    def next(self, length: int) -> int:
        its_class = self._class[_size(length)]
        self._next[its_class] += 1
        return self._next[its_class] - 1


def _size(length: int) -> int:
    """A number that grows with the length, sixteen to each doubling."""
    bits = length.bit_length()
    return (bits << 5) + (length >> max(0, bits - 5))
