"""The benchmarks, by hand: one table, every figure beside a reference that was measured in the same run.

    python -m tests.benchmarks                         all of them, medians of 5; about half an hour
    python -m tests.benchmarks at_256 cpu_bound        these alone
    python -m tests.benchmarks --quick                 once each, on less: to see that they work

Run in the repository's root on a machine that does nothing else. The throughput rows need ``aiohttp`` for the
script that they are compared with. Everything is written in temporary folders; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.benchmarks import intervals, known, large_ledger, limits, start, throughput
from tests.benchmarks.figure import Benchmark, Size, table
from tests.benchmarks.machine import described
from tests.benchmarks.measured import RunFailed

BENCHMARKS: dict[str, Benchmark] = {
    "at_256": throughput.at_256,
    "at_1024": throughput.at_1024,
    "cpu_bound": throughput.cpu_bound,
    "limit": limits.unknown_limit,
    "known": known.known,
    "export": known.export,
    "plan": known.plan,
    "ledger": large_ledger.ledger,
    "start": start.start,
    "tail": limits.tail,
    "intervals": intervals.intervals,
}
# By name only.
OTHERS: dict[str, Benchmark] = {"smallest": throughput.smallest}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS | OTHERS))
    parser.add_argument("--repeat", type=int, default=None, help="how often each is measured (5)")
    parser.add_argument("--quick", action="store_true", help="once each, on less")
    given = parser.parse_args()
    unknown = set(given.names) - (BENCHMARKS | OTHERS).keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS | OTHERS)}")
    size = Size(given.repeat or (1 if given.quick else 5), given.quick)
    print(described(), flush=True)
    figures, broken = [], []
    for name in given.names or BENCHMARKS:
        try:
            figures += (BENCHMARKS | OTHERS)[name](size)
        except (RunFailed, subprocess.SubprocessError) as error:  # the others are still worth having
            broken.append(f"{name} could not be measured: {error}")
    if given.quick:
        print("\nOn so little the bars are missed for the start alone: this shows only that all of it works.")
    print("\n".join(["", table(figures), *broken]))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
