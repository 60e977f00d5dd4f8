# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run as Prometheus text (exposition format 0.0.4) for node_exporter's textfile collector."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Optional, Union

from .._core.clock import parse_utc
from .._core.units import PPM
from .._records.vm import DIRECTIONS, RESOURCES
from .view import View

LAST_SUCCESS = "headroom_last_success_timestamp_seconds"

_Number = Union[int, float]
_Labelled = tuple[dict[str, str], _Number]
_VALUE = re.compile(rf"^{LAST_SUCCESS} ([0-9]+(?:\.[0-9]+)?)$", re.MULTILINE)


def metrics(view: View, *, before: str = "") -> str:
    """Return the text. ``before``: that of the run before, whose last success stands until the next one."""
    return "".join(_family(name, words, samples) for name, words, samples in _families(view, before) if samples)


def last_success(text: str) -> Optional[float]:
    """Read the time of the last success, in seconds since the epoch, from an earlier text; None where it has none."""
    found = _VALUE.search(text)
    return float(found.group(1)) if found else None


def _families(view: View, before: str) -> list[tuple[str, str, Sequence[_Labelled]]]:
    facts = view.facts
    ended_at = parse_utc(view.ended_at).timestamp()
    succeeded = ended_at if view.succeeded else last_success(before)
    decisions = Counter((row.resource, row.verdict, row.code) for machine in view.machines for row in machine.rows)
    amounts = [("planned", view.planned), ("done", view.done)]
    failed = sum(one.failed for one in facts.owed)
    return [
        (LAST_SUCCESS, "When a run last came to its end and left nothing broken.", _one(succeeded)),
        ("headroom_last_run_timestamp_seconds", "When the last run ended.", _one(ended_at)),
        ("headroom_run_duration_seconds", "How long the last run took.", _one(view.duration_s)),
        ("headroom_vms", "VMs in the snapshot.", _one(len(facts.snapshot.vms))),
        ("headroom_snapshot_gaps", "Parts of the fleet that could not be read.", _one(len(facts.snapshot.gaps))),
        (
            "headroom_decisions",
            "Decisions of the plan.",
            [
                ({"resource": resource, "verdict": verdict, "reason": code}, number)
                for (resource, verdict, code), number in sorted(decisions.items())
            ],
        ),
        (
            "headroom_acts",
            "Acts of the last apply by how they ended.",
            [({"result": state, "reason": code}, number) for state, code, number in view.results],
        ),
        (
            "headroom_capacity_moved",
            "Capacity that the acts move, in vCPU and MiB.",
            [
                ({"resource": resource, "direction": direction, "state": state}, sums[resource, direction].amount)
                for state, sums in amounts
                for resource in RESOURCES
                for direction in DIRECTIONS
            ],
        ),
        ("headroom_rollbacks_owed", "Rollbacks that wait for a restart.", _one(len(facts.owed) - failed)),
        ("headroom_rollbacks_failed", "Acts that could not be set back: a person is needed.", _one(failed)),
        ("headroom_vms_held", "VMs that are held.", _one(len(facts.held))),
        ("headroom_kill_switch", "1 while the kill switch is on.", _one(int(bool(facts.kill_switch)))),
        (
            "headroom_telemetry_coverage_ratio",
            "Known share of the history, mean over the VMs.",
            [({"metric": one.metric}, one.coverage_ppm / PPM) for one in view.known],
        ),
        (
            "headroom_telemetry_staleness_seconds",
            "Age of the newest value, of the VM for which it is oldest.",
            [({"metric": one.metric}, one.oldest_s) for one in view.known if one.oldest_s is not None],
        ),
        (
            "headroom_telemetry_vms_without",
            "VMs that have no value at all.",
            [({"metric": one.metric}, one.without) for one in view.known],
        ),
    ]


def _one(value: Optional[_Number]) -> list[_Labelled]:
    return [] if value is None else [({}, value)]


def _family(name: str, words: str, samples: Iterable[_Labelled]) -> str:
    lines = [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(labels)} {value:.16g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
