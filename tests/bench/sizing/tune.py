# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the operating point of each policy on the VMs that may be tuned on: make tune TRACES=... PROTOCOL=...

For each row of the bench and each policy with numbers to tune, the same budget: random points on a third of the VMs,
the best of them on all beside a first guess and what other rows found, then steps around those that are best so far.
What is sought is the most reclaimed capacity with every limit of the service level kept with a margin: a closed loop is
blinded by its own caps, and the VMs that are reported are others. The report VMs are never looked at. Points go to
operating_points.json, which the bench only reads, and those of Headroom into the table that the product carries.
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

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo, read_protocol
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import Score

from .policy import Entry, Point
from .run import POINTS, Fleet, fleet, has, operating_points, read_table, run, scored
from .shipped import SHIPPED, shipped_text
from .table import ROWS, Row, entries, spans

MARGIN = 0.88  # of each limit on what all VMs add up to
LESS_AN_HOUR = 0.2  # of it for limits that few VMs decide: the longer acts take, the more a single burst costs
PENALTY = 30.0  # points of reclaimed capacity for each limit that is exceeded once over
TRIALS = 32  # random points on a third of the VMs
STEPS_OF = 1.5  # steps on all VMs, to one trial
PARENTS_OF = 8  # random points, one is kept
WIDTHS = (0.2, 0.1, 0.05)  # of a step, in shares of a span
KEPT = ("reclaimed", "violations", "unserved_of_demand", "worst_vm", "vms_within_1pct", "resizes_per_vm_day")


def excess(score: Score, row: Row, slo: Slo) -> float:
    """By how much the limits are exceeded, each with its margin and relative to itself; 0 where all hold."""
    few = MARGIN - LESS_AN_HOUR * row.lead_s / 3600
    used = (
        (score.violations / slo.violations, MARGIN),
        (score.unserved_of_demand / slo.unserved, MARGIN),
        (score.worst_vm / slo.worst_vm, few),
        ((100 - score.vms_within_1pct) / (100 - slo.vms_within_1pct), few),
        (score.resizes_per_vm_day / row.most_resizes, 0.95),
    )
    return sum(max(0.0, share - margin) for share, margin in used)


def worth(score: Score, row: Row, slo: Slo) -> float:
    """What a tuner maximises."""
    return score.reclaimed - PENALTY * excess(score, row, slo)


class Tuner:
    """The search of one policy in one row."""

    def __init__(self, entry: Entry, row: Row, whole: Fleet, *, trials: int, known: Sequence[Point] = ()) -> None:
        self.entry, self.row, self.whole, self.trials = entry, row, whole, trials
        self.guesses = [entry.start, *known]
        self.third = whole.only(whole.chosen.unique_ids[::3])
        self.spans = spans(entry, row)
        self.rng = np.random.default_rng(zlib.crc32(f"{row.name} {entry.name}".encode()))

    def search(self) -> tuple[Point, Score]:
        names = list(self.spans)
        shares = self.rng.random((self.trials, len(names)))
        few = sorted(shares, key=lambda share: -self.tried(share, self.third)[0])[: self.trials // PARENTS_OF]
        parents = [self.tried(share, self.whole) for share in (*few, *map(self.shares, self.guesses))]
        steps = int(STEPS_OF * self.trials)
        for step in range(steps):
            parents = sorted(parents, key=lambda found: -found[0])[: len(few)]
            one = parents[min(self.rng.geometric(0.5), len(parents)) - 1][1]
            moves = self.rng.random(len(names)) < max(0.3, 1 / len(names))
            moves[self.rng.integers(len(names))] = True
            width = WIDTHS[step % len(WIDTHS)] * (1 - step / (2 * steps))
            parents.append(self.tried(np.clip(one + moves * self.rng.normal(0, width, len(names)), 0, 1), self.whole))
        best = max(parents, key=lambda found: found[0])
        return self.point(best[1]), best[2]

    def shares(self, point: Point) -> np.ndarray:
        """Where a point lies in each span; a number it does not say is the lowest, which changes nothing."""
        found = [span.share(point.get(name, span.low)) for name, span in self.spans.items()]
        return np.clip(found, 0, 1)

    def point(self, share: np.ndarray) -> Point:
        return {name: span.at(where) for (name, span), where in zip(self.spans.items(), share, strict=True)}

    def tried(self, share: np.ndarray, of: Fleet) -> tuple[float, np.ndarray, Score]:
        found = scored(run(self.entry, self.row, self.point(share), of), of)
        return worth(found, self.row, of.protocol.slo4), share, found


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
    said = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.exists() else {"rows": {}}
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
            known = [of[entry.name]["point"] for of in said["rows"].values() if entry.name in of]
            point, score = Tuner(entry, row, fleets[row.target], trials=chosen.trials, known=known).search()
            spent = time.process_time() - clock
            figures = {name: round(value, 4) for name, value in asdict(score).items() if name in KEPT}
            said["rows"].setdefault(row.name, {})[entry.name] = {
                "point": point,
                "on_tune_vms": {**figures, "slo4": score.slo4},
                "trials": chosen.trials,
                "cpu_s": round(spent, 1),
            }
            chosen.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            if chosen.out == POINTS:
                SHIPPED.write_text(shipped_text(operating_points()), encoding="utf-8")
            print(
                f"{row.name} | {entry.name} | {figures} | slo4 {score.slo4} | {spent:.0f} CPU-s | {point}", flush=True
            )
    print(f"{(time.process_time() - begin) / 3600:.2f} CPU-hours")


if __name__ == "__main__":
    main()
