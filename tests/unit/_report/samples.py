# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand-made runs to report on: a small one with everything in it, and fleets of any size."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action, Change, Inverse
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Choice, Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
from ansible_collections.headroom.fleet.plugins.module_utils._records.hostset import HOST, HOST_SET, Growth, Joint
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Decision, Limits, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import DONE, Outcome, Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap, Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._report.curves import Curve, Expected, Observed
from ansible_collections.headroom.fleet.plugins.module_utils._report.facts import METRIC_OF, Facts, Held, Owed

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEP_S = 300
HOUR_S = 3600
DIGEST = "sha256:" + "ab" * 32
PLAN = "sha256:" + "cd" * 32

# name -> resource -> (now, wanted, verdict, code, reason, load as a share of the size now)
MACHINES: dict[str, dict[str, tuple[int, int, str, str, str, float]]] = {
    "web1": {
        "vcpus": (1, 2, "act", "grow", "0.95 quantile 1.21 vCPU is 121 % of 1 vCPU, more than 70 %", 0.8),
        "memory_mib": (256, 256, "stay", "fits", "0.98 quantile 180 MiB is 70 % of 256 MiB", 0.6),
    },
    "batch1": {
        "vcpus": (2, 1, "act", "shrink", "0.95 quantile 0.31 vCPU fits 1 vCPU with room to spare", 0.05),
        "memory_mib": (
            384,
            256,
            "act",
            "shrink",
            "0.98 quantile 142 MiB and the guest's floor 163 MiB fit 256 MiB",
            0.3,
        ),
    },
    "web2": {
        "vcpus": (1, 1, "stay", "fits", "0.95 quantile 0.22 vCPU is 22 % of 1 vCPU, the least there is", 0.12),
        "memory_mib": (256, 256, "stay", "minimum_change", "256 to 256 MiB is no change worth making", 0.4),
    },
    "db1": {
        "vcpus": (2, 1, "refused", "no_history", "3 days of history are known, 7 are needed to shrink", 0.2),
        "memory_mib": (384, 384, "stay", "fits", "0.98 quantile 300 MiB is 78 % of 384 MiB", 0.7),
    },
}


def moment(**ago: float) -> str:
    """A time before NOW."""
    return format_utc(NOW - timedelta(**ago))


def curve(size: float, share: float, *, hours: int = 24, horizon: int = 6, phase: float = 0.0) -> Curve:
    """A demand with a daily wave around a share of the size, in the unit of ``size``."""

    def level(at_s: float) -> float:
        return size * share * (1 + 0.35 * math.sin(at_s / 86400 * 2 * math.pi + phase))

    start = int(NOW.timestamp()) - hours * HOUR_S
    observed = tuple(
        Observed(at, level(at) * (1 + 0.03 * math.sin(at)), level(at) * (1.2 + 0.08 * math.sin(at * 3)))
        for at in range(start, int(NOW.timestamp()), STEP_S)
    )
    expected = tuple(
        Expected(at, 0.8 * level(at), 1.1 * level(at), 1.5 * level(at))
        for at in range(int(NOW.timestamp()), int(NOW.timestamp()) + horizon * HOUR_S, HOUR_S)
    )
    return Curve(observed, STEP_S, expected, HOUR_S)


def vm(name: str, *, vcpus: int = 2, memory_mib: int = 256, **values: Any) -> VM:
    """A running VM."""
    data: dict[str, Any] = {
        "unique_id": f"lab/{name}",
        "endpoint": "lab",
        "name": name,
        "host_id": "lab/h",
        "host_set": "lab",
        "power": "running",
        "vcpus": vcpus,
        "memory_mib": memory_mib,
        "generation": DIGEST,
        "fields": {},
        "tenant": "shop",
        "owner": "ada",
    }
    return VM(**{**data, **values})


def host() -> Host:
    """The one host."""
    return Host("lab/h", "lab", "h", "lab", 8, 0, 4_000_000, 16384, 0, 1_000_000)


def action(number: int, name: str, resource: str, before: int, after: int, **values: Any) -> Action:
    """An act on one resource."""
    operation = {"vcpus": "vcpus.agent", "memory_mib": "memory.balloon"}[resource]
    fields = {"vcpus": ("guest.vcpus", "config.vcpus"), "memory_mib": ("live.memory_mib", "config.memory_mib")}
    data: dict[str, Any] = {
        "action_id": f"a{number:04}",
        "unique_id": f"lab/{name}",
        "vm_name": name,
        "endpoint": "lab",
        "host_id": "lab/h",
        "host_set": "lab",
        "tenant": "shop",
        "operation": operation,
        "resource": resource,
        "direction": "grow" if after > before else "shrink",
        "mode": "auto",
        "size_before": before,
        "size_after": after,
        "changes": tuple(Change(field, before, after) for field in fields[resource]),
        "generation": DIGEST,
        "inverse": Inverse(operation, "live"),
        "restart": False,
        "reason": "test",
    }
    return Action(**{**data, **values})


def plan(actions: tuple[Action, ...], decisions: tuple[Decision, ...] = (), **values: Any) -> Plan:
    """A plan of these."""
    data: dict[str, Any] = {
        "made_at": moment(minutes=1),
        "expires_at": format_utc(NOW + timedelta(hours=24)),
        "scope": tuple(sorted({one.unique_id for one in decisions})),
        "purpose": "size",
        "policy": DIGEST,
        "snapshot": DIGEST,
        "forecast": DIGEST,
        "budget": Budget(Limits()),
        "actions": actions,
        "decisions": decisions,
    }
    return Plan(**{**data, **values})


def joint(kind: str, place: str, **values: Any) -> Joint:
    """CPU of 5 vCPU on four VMs, which grows by a tenth of a vCPU a day."""
    data: dict[str, Any] = {
        "metric": METRIC_OF["vcpus"],
        "vms": 4,
        "assumed": 0,
        "quantiles": (2000, 3000, 5000, 5500),  # of the levels of the forecast in ``small``
        "apart": (2000, 3000, 6500, 7500),
        "points": 144,
        "peaks": (-1, *range(2200, 4900, 100)),
        "growth": Growth(27, (50_000, 100_000, 200_000), (4900, 5000, 5100)),
    }
    return Joint(kind, place, **{**data, **values})


def outcome(act: Action, state: str = DONE, code: str = "", message: str = "") -> Outcome:
    """How an act ended."""
    return Outcome(act.action_id, act.unique_id, act.vm_name, act.operation, state, code, message, moment(seconds=20))


def receipt(outcomes: tuple[Outcome, ...], **values: Any) -> Receipt:
    """The receipt of the plan that ``facts`` names."""
    data: dict[str, Any] = {
        "run_id": "20260301T115500-1a2b3c4d",
        "plan": PLAN,
        "started_at": moment(seconds=50),
        "finished_at": moment(seconds=10),
        "outcomes": outcomes,
    }
    return Receipt(**{**data, **values})


def small(**values: Any) -> Facts:
    """Four VMs, one of each fate, with curves, an owed rollback, a hold and a gap."""
    actions, decisions, curves, choices = [], [], {}, []
    for name, resources in MACHINES.items():
        for resource, (now, wanted, verdict, code, reason, share) in resources.items():
            acts = verdict == "act"
            if acts:
                actions.append(action(len(actions) + 1, name, resource, now, wanted, reason=reason))
            unit = 1000 if resource == "vcpus" else 1
            decisions.append(
                Decision(
                    f"lab/{name}", name, resource, verdict, code, reason, 14, now, wanted,
                    round(now * unit * share * 1.5), actions[-1].action_id if acts else "",
                )
            )  # fmt: skip
            curves[f"lab/{name}", METRIC_OF[resource]] = curve(now * unit, share, phase=len(curves))
            choices.append(
                Choice(
                    f"lab/{name}", METRIC_OF[resource], "trailing_quantiles", "smallest loss of five over 28 days",
                    28 * 86400, 998_000, moment(minutes=5), round(now * unit * share * 1.3),
                )
            )  # fmt: skip
    data: dict[str, Any] = {
        "run_id": "20260301T115500-1a2b3c4d",
        "made_at": format_utc(NOW),
        "started_at": moment(seconds=152),
        "snapshot": Snapshot(
            moment(minutes=2),
            ("lab",),
            (host(),),
            (
                *(
                    vm(name, vcpus=of["vcpus"][0], memory_mib=of["memory_mib"][0])
                    for name, of in sorted(MACHINES.items())
                ),
                vm("tmpl", refused="is managed by OpenStack Nova", refused_code="vm.foreign"),
            ),
            (Gap("lab", "old-vm", "vm.unreadable", "Its definition has no memory."),),
        ),
        "plan": plan(tuple(actions), tuple(decisions)),
        "forecast": Forecast(
            series=DIGEST,
            made_at=moment(minutes=1),
            cutoff=moment(minutes=2),
            target="maximum",
            horizon_s=6 * HOUR_S,
            interval_s=HOUR_S,
            quantiles=("0.05", "0.5", "0.95", "0.98"),
            engines=("naive", "trailing_quantiles"),
            table=DIGEST,
            rows=48,
            choices=tuple(choices),
            places=tuple(joint(kind, place) for kind, place in ((HOST, "lab/h"), (HOST_SET, "lab"))),
        ),
        "receipt": receipt(tuple(outcome(one) for one in actions)),
        "owed": (
            Owed(
                "lab/web2",
                "vcpus",
                "20260227T0300-9f",
                "a0007",
                moment(days=2),
                "Waits for the VM's restart.",
                failed=False,
            ),
        ),
        "held": (Held("lab/db1", "ada", "being migrated by hand", ""),),
        "digests": {"snapshot": DIGEST, "forecast": DIGEST, "plan": PLAN, "receipt": DIGEST},
        "curves": curves,
    }
    return Facts(**{**data, **values})


def large(vms: int, *, acted: int) -> Facts:
    """A fleet of which every so many-th VM changes."""
    names = [f"app-{number:05}" for number in range(vms)]
    changing = set(names[:: max(1, vms // acted)][:acted])
    actions = tuple(
        action(number, name, "vcpus", 4, 2 if number % 3 else 6, reason="0.95 quantile says so")
        for number, name in enumerate(sorted(changing), start=1)
    )
    by_name = {one.vm_name: one for one in actions}
    decisions = []
    for name in names:
        act = by_name.get(name)
        decisions.append(
            Decision(
                f"lab/{name}", name, "vcpus", "act" if act else "stay", act.direction if act else "fits",
                "0.95 quantile 2.10 vCPU is 53 % of 4 vCPU", 14, 4, act.size_after if act else 4, 2100,
                act.action_id if act else "",
            )
        )  # fmt: skip
        decisions.append(
            Decision(
                f"lab/{name}", name, "memory_mib", "refused", "budget", "the window's budget is used up", 41, 8192, 4096
            )
        )
    curves = {(f"lab/{name}", METRIC_OF["vcpus"]): curve(4000, 0.3) for name in changing}
    return Facts(
        run_id="large",
        made_at=format_utc(NOW),
        snapshot=Snapshot(
            moment(minutes=2), ("lab",), (host(),), tuple(vm(name, vcpus=4, memory_mib=8192) for name in names)
        ),
        plan=plan(actions, tuple(decisions)),
        digests={"plan": PLAN},
        curves=curves,
    )
