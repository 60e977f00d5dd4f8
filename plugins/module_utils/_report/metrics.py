# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run as Prometheus text (exposition format 0.0.4) for node_exporter's textfile collector.

Base units, times as Unix time (an age is ``time()`` less that), and no VM as a label: the number of series does not
grow with the fleet. All are gauges, for each file tells of one run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

from .._core.clock import parse_utc
from .._core.units import PPM
from .._records.vm import DIRECTIONS, MEMORY_MIB, RESOURCES, VCPUS, kind_of
from .labels import SCOPE_WORD
from .view import View

LAST_SUCCESS = "headroom_last_success_timestamp_seconds"
BYTES_PER_MIB = 1_048_576
# Resource -> name of the metric that tells how much of it moves, and that metric's unit in the resource's own.
MOVED = {VCPUS: ("headroom_moved_vcpus", 1), MEMORY_MIB: ("headroom_moved_memory_bytes", BYTES_PER_MIB)}

_Labelled = tuple[dict[str, str], float]
_VALUE = re.compile(rf"^{LAST_SUCCESS} ([0-9]+(?:\.[0-9]+)?)$", re.MULTILINE)


class _Family(NamedTuple):
    name: str
    words: str
    samples: list[_Labelled]


def metrics(view: View, *, before: str = "") -> str:
    """Return the text. ``before``: that of the run before, whose last success stands until the next one."""
    parts = (_run(view, before), _decisions(view), _acts(view), _state(view), _telemetry(view), _scorecard(view))
    return "".join(_written(family) for part in parts for family in part if family.samples)


def last_success(text: str) -> Optional[float]:
    """Read the time of the last success, in seconds since the epoch, from an earlier text; None where it has none."""
    found = _VALUE.search(text)
    return float(found.group(1)) if found else None


def _run(view: View, before: str) -> Iterator[_Family]:
    facts = view.facts
    ended_at = _seconds(view.ended_at)
    succeeded = ended_at if view.succeeded and not facts.rehearsal else last_success(before)
    yield _Family(LAST_SUCCESS, "When a run last came to its end and left nothing broken.", _one(succeeded))
    yield _Family("headroom_last_run_timestamp_seconds", "When the last run ended.", _one(ended_at))
    yield _Family("headroom_last_run_success", "1 if the last run succeeded.", _one(int(view.succeeded)))
    yield _Family("headroom_last_run_duration_seconds", "How long the last run took.", _one(view.duration_s))
    made = {
        "snapshot": facts.snapshot.taken_at,
        "forecast": facts.forecast.made_at if facts.forecast else "",
        "plan": facts.plan.made_at if facts.plan else "",
    }
    for stage, moment in made.items():
        words = f"When the {stage} of the last run was made."
        yield _Family(f"headroom_{stage}_timestamp_seconds", words, _one(_seconds(moment) if moment else None))


def _decisions(view: View) -> Iterator[_Family]:
    facts = view.facts
    yield _Family("headroom_vms", "VMs in the snapshot.", _one(len(facts.snapshot.vms)))
    yield _Family(
        "headroom_snapshot_gaps", "Parts of the fleet that could not be read.", _one(len(facts.snapshot.gaps))
    )
    # The target of a setting ("disk_iops/vda") is left out: there may be any number of them.
    counts = Counter(
        (kind_of(row.resource), row.verdict, row.code) for machine in view.machines for row in machine.rows
    )
    decisions: list[_Labelled] = [
        ({"resource": resource, "verdict": verdict, "reason": code}, number)
        for (resource, verdict, code), number in sorted(counts.items())
    ]
    yield _Family("headroom_decisions", "Decisions of the plan.", decisions)
    for resource in RESOURCES:
        name, unit = MOVED[resource]
        moved: list[_Labelled] = [
            ({"direction": direction, "state": state}, of.amounts[resource, direction] * unit)
            for state, of in (("planned", view.planned), ("done", view.done))
            for direction in DIRECTIONS
        ]
        yield _Family(name, "Capacity that the acts move.", moved)
    costs: list[_Labelled] = [({"state": "planned"}, view.planned.cost), ({"state": "done"}, view.done.cost)]
    words = "What the acts add to the cost of the fleet, in the policy's unit."
    yield _Family("headroom_cost_change", words, costs if facts.policy else [])


def _acts(view: View) -> Iterator[_Family]:
    ended: list[_Labelled] = [({"result": state, "reason": code}, number) for state, code, number in view.results]
    yield _Family("headroom_acts", "Acts of the last apply by how they ended.", ended)
    yield _Family("headroom_acts_waiting_for_approval", "Acts that a person must approve.", _one(view.waiting))


def _state(view: View) -> Iterator[_Family]:
    facts = view.facts
    failed = sum(one.failed for one in facts.owed)
    yield _Family("headroom_rollbacks_owed", "Rollbacks that wait for a restart.", _one(len(facts.owed) - failed))
    yield _Family("headroom_rollbacks_failed", "Acts that could not be set back: a person is needed.", _one(failed))
    yield _Family("headroom_vms_held", "VMs that are held.", _one(len(facts.held)))
    yield _Family("headroom_kill_switch", "1 while the kill switch is on.", _one(int(bool(facts.kill_switch))))
    window = facts.plan.budget.window if facts.plan else None
    most: dict[str, int] = {scope: getattr(window, scope) for scope in SCOPE_WORD} if window else {}
    left = {scope: min([most[scope], *(one.left for one in facts.budget_used if one.scope == scope)]) for scope in most}
    words = "Acts that a place of this kind may begin per rolling window."
    yield _Family("headroom_budget_acts", words, [({"scope": scope}, number) for scope, number in most.items()])
    words = "Acts that are left of the rolling budget, in the place of this kind where fewest are."
    yield _Family("headroom_budget_acts_left", words, [({"scope": scope}, number) for scope, number in left.items()])


def _telemetry(view: View) -> Iterator[_Family]:
    def family(name: str, words: str, values: Iterable[Optional[float]]) -> _Family:
        sources = [{"endpoint": one.endpoint, "metric": one.metric} for one in view.known]
        samples = [(labels, value) for labels, value in zip(sources, values) if value is not None]
        return _Family(f"headroom_telemetry_{name}", words, samples)

    known = view.known
    words = "Known share of the history, mean over the VMs."
    yield family("coverage_ratio", words, [one.coverage_ppm / PPM for one in known])
    words = "Age of the newest value when it was forecast, of the VM for which it is oldest."
    yield family("staleness_seconds", words, [one.oldest_s for one in known])
    yield family("missing_vms", "VMs that have no value at all.", [one.without for one in known])
    found = view.facts.violations
    if found:
        limits = Counter(one.metric for one in found.found)
        samples: list[_Labelled] = [({"metric": metric}, number) for metric, number in sorted(limits.items())]
        yield _Family("headroom_violating_vms", "VMs that ran into a limit of this metric.", samples)


def _scorecard(view: View) -> Iterator[_Family]:
    card = view.facts.scorecard
    if card is None:
        return

    def family(name: str, words: str, values: Iterable[Optional[float]]) -> _Family:
        samples = [({"metric": one.metric}, value) for one, value in zip(card.totals, values) if value is not None]
        return _Family(f"headroom_scorecard_{name}", words, samples)

    totals, demoted = card.totals, Counter(one.metric for one in card.demoted)
    yield family("vms", "VMs whose forecasts were scored.", [one.vms for one in totals])
    yield family("demoted_vms", "VMs that are only recommended for.", [demoted[one.metric] for one in totals])
    words = "Share of the intervals in which use was at the size."
    yield family("violation_ratio", words, [one.violation_ratio for one in totals])
    words = "Pinball loss as a share of that of the last value carried on."
    yield family("loss_ratio", words, [one.loss_ratio for one in totals])
    words = "Share of the intervals that the interval of 90 % covered."
    yield family("coverage_ratio", words, [one.coverage_ratio for one in totals])
    words = "Intervals that were forecast and could not be scored."
    yield family("missed_intervals", words, [one.missed for one in totals])


def _seconds(moment: str) -> float:
    return parse_utc(moment).timestamp()


def _one(value: Optional[float]) -> list[_Labelled]:
    return [] if value is None else [({}, value)]


def _written(family: _Family) -> str:
    lines = [f"# HELP {family.name} {family.words}", f"# TYPE {family.name} gauge"]
    lines += [f"{family.name}{_labels(labels)} {value:.16g}" for labels, value in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
