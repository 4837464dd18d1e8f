"""A gateway on loopback that speaks Opper's v3: for trying out, for tests, and for users' own CI.

    with Sandbox(Script(latency=0.05, throttled=0.05)) as sandbox:
        Opper(http_bearer="any", base_url=sandbox.url)

Its answers are synthetic: no model is asked. They fit the output schema and follow from the request alone.
"""

from opper_batch.sandbox.journal import Journal, Record
from opper_batch.sandbox.questions import input_digest
from opper_batch.sandbox.script import Script
from opper_batch.sandbox.server import Sandbox, serve

__all__ = ["Journal", "Record", "Sandbox", "Script", "input_digest", "serve"]
