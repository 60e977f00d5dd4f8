# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the operating point of each policy on the VMs that may be tuned on: make tune TRACES=... PROTOCOL=...

For each row of the bench and each policy with numbers to tune, the same budget of replays: a first guess and what other
rows found, then an evolution strategy from the best of these (CMA-ES: Hansen, arXiv:1604.00772). What is sought is the
most reclaimed capacity with every limit of the service level kept with a margin: a closed loop is blinded by its own
caps, and the VMs that are reported are others. The report VMs are never looked at. Points go to operating_points.json,
which the bench only reads, and those of Headroom into the table that the product carries; with --rows '' nothing else
is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

import cma
import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo, read_protocol
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import Score

from .policy import Entry, Point
from .run import POINTS, Fleet, fleet, has, operating_points, points_file, read_table, run, scored, tuned_on
from .shipped import SHIPPED, shipped_text
from .table import ROWS, Row, entries, spans

MARGIN = 0.88  # of each limit
LESS_AN_HOUR = 0.2  # of it: the longer acts take, the more a single burst of few VMs costs, and the less it comes again
RESIZES_MARGIN = 0.95
PENALTY = 30.0  # points of reclaimed capacity for each limit that is exceeded once over
TRIALS = 120  # replays of a policy in a row
WIDTH = 0.1  # of the first steps, in shares of a span
KEPT = ("reclaimed", "violations", "unserved_of_demand", "worst_vm", "vms_within_1pct", "resizes_per_vm_day")


def excess(score: Score, row: Row, slo: Slo) -> float:
    """By how much the limits are exceeded, each with its margin and relative to itself; 0 where all hold."""
    margin = MARGIN - LESS_AN_HOUR * row.lead_s / 3600
    used = (
        score.violations / slo.violations,
        score.unserved_of_demand / slo.unserved,
        score.worst_vm / slo.worst_vm,
        (100 - score.vms_within_1pct) / (100 - slo.vms_within_1pct),
    )
    resized = max(0.0, score.resizes_per_vm_day / row.most_resizes - RESIZES_MARGIN)
    return resized + sum(max(0.0, share - margin) for share in used)


def worth(score: Score, row: Row, slo: Slo) -> float:
    """What a tuner maximises."""
    return score.reclaimed - PENALTY * excess(score, row, slo)


class Tuner:
    """The search of one policy in one row."""

    def __init__(self, entry: Entry, row: Row, whole: Fleet, *, trials: int, known: Sequence[Point] = ()) -> None:
        self.entry, self.row, self.whole, self.trials = entry, row, whole, trials
        self.guesses = [entry.start, *known]
        self.spans = spans(entry, row)
        self.found: list[tuple[float, Point, Score]] = []

    def search(self) -> tuple[Point, Score]:
        start = min(map(self.shares, self.guesses), key=self.loss)
        # A single number takes an idle one beside it: the strategy has no form for one dimension.
        steps = cma.CMAEvolutionStrategy(
            np.append(start, 0.5),
            WIDTH,
            {
                "bounds": [0, 1],
                "seed": zlib.crc32(f"{self.row.name} {self.entry.name}".encode()),
                "verbose": -9,
            },
        )
        while len(self.found) < self.trials:
            asked = steps.ask()
            steps.tell(asked, [self.loss(share[:-1]) for share in asked])
        _worth, point, score = max(self.found, key=lambda one: one[0])
        return point, score

    def shares(self, point: Point) -> np.ndarray:
        """Where a point lies in each span; a number it does not say is the lowest, which changes nothing."""
        found = [span.share(point.get(name, span.low)) for name, span in self.spans.items()]
        return np.clip(found, 0, 1)

    def loss(self, share: np.ndarray) -> float:
        """Replay the policy at a point; less is better."""
        point = {name: span.at(where) for (name, span), where in zip(self.spans.items(), share, strict=True)}
        score = scored(run(self.entry, self.row, point, self.whole), self.whole)
        self.found.append((worth(score, self.row, self.whole.protocol.slo4), point, score))
        return -self.found[-1][0]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--traces", required=True)
    options.add_argument("--protocol", required=True)
    options.add_argument("--policies", default="*", help="only those whose name matches, as files do in a shell")
    options.add_argument("--rows", default="*", help="only those whose name matches")
    options.add_argument("--trials", type=int, default=TRIALS)
    options.add_argument("--out", type=Path, default=POINTS)
    chosen = options.parse_args()
    protocol = read_protocol(Path(chosen.protocol).read_bytes())
    if not protocol.tune_ids:
        sys.exit("The protocol has no VMs to tune on: the operating points that are there are used.")
    table = read_table(chosen.traces, protocol.trace)
    there, of = points_file(chosen.out), tuned_on(protocol)
    said = there if there.get("tuned_on") == of else {"rows": {}, "tuned_on": of}  # one file, one fleet
    begin = time.process_time()
    fleets: dict[str, Fleet] = {}
    for row in ROWS:
        if row.tuned_as or not fnmatchcase(row.name, chosen.rows) or not has(table, row.target):
            continue
        if row.target not in fleets:
            fleets[row.target] = fleet(table, protocol, row.target, "tune")
        for entry in entries(row):
            if not spans(entry, row) or not fnmatchcase(entry.name, chosen.policies):
                continue
            clock = time.process_time()
            known = [
                of[entry.name]["point"] for of in {**there.get("rows", {}), **said["rows"]}.values() if entry.name in of
            ]
            point, score = Tuner(entry, row, fleets[row.target], trials=chosen.trials, known=known).search()
            spent = time.process_time() - clock
            figures = {name: round(value, 4) for name, value in asdict(score).items() if name in KEPT}
            said["rows"].setdefault(row.name, {})[entry.name] = {
                "point": point,
                "on_tune_vms": {**figures, "slo4": score.slo4},
                "trials": chosen.trials,
                "cpu_s": round(spent, 1),
            }
            keep(said, chosen.out)
            print(
                f"{row.name} | {entry.name} | {figures} | slo4 {score.slo4} | {spent:.0f} CPU-s | {point}", flush=True
            )
    keep(said, chosen.out)
    print(f"{(time.process_time() - begin) / 3600:.2f} CPU-hours")


def keep(said: dict[str, object], out: Path) -> None:
    """Write the points; where they are those that the bench reads, the product's table too."""
    out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if out == POINTS:
        SHIPPED.write_text(shipped_text(operating_points()), encoding="utf-8")


if __name__ == "__main__":
    main()
