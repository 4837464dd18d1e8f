"""Limits as arithmetic: every method takes ``now`` in seconds and nothing here sleeps, so limits are tested
with numbers.

A limit that is known is held from the first second at 0.99 of it, with no burst but what a busy event loop is
late by. One that is not known is found: how, ``learner`` (rate), ``places`` (concurrency) and ``moods``
(refusals that are no limit) say. A gateway that is not there at all is ``outage``.
"""

from __future__ import annotations

from opper_batch.pace.gcra import Gcra
from opper_batch.pace.learner import HELD, Learner, Sent
from opper_batch.pace.outage import Outage
from opper_batch.pace.pace import CEILING, Commons, Learned, Pace

__all__ = ["CEILING", "HELD", "Commons", "Gcra", "Learned", "Learner", "Outage", "Pace", "Sent"]
