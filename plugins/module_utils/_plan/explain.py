# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why, or why not, VM X: from the plan alone."""

from __future__ import annotations

from .._core.errors import HeadroomError
from .._core.units import PPM
from .._policy.load import suggest
from .._records.action import Action
from .._records.demand import demand_of
from .._records.plan import PURPOSE_GUARD, Decision, Plan, Service, Signalled
from .diff import size_text
from .target import more_text, percent_text, spent_text


def explain(plan: Plan, vm: str) -> str:
    """What the plan says about one VM, by name or unique_id. Raises ``plan.vm_unknown``, ``plan.vm_ambiguous``."""
    decisions = decisions_of(plan, vm)
    first = decisions[0]
    lines = [f"{first.vm_name} ({first.unique_id}), plan of {plan.made_at}, purpose {plan.purpose}"]
    for decision in decisions:
        lines += _explain_one(plan, decision)
    return "\n".join([*lines, ""])


def decisions_of(plan: Plan, vm: str) -> list[Decision]:
    """The decisions about one VM, one per resource. Raises as ``explain``."""
    found = [one for one in plan.decisions if vm in (one.unique_id, one.vm_name)]
    ids = sorted({one.unique_id for one in found})
    if not found:
        near = suggest(vm, {one.vm_name for one in plan.decisions})
        raise HeadroomError(
            "plan.vm_unknown", f"The plan says nothing about {vm!r}.", advice=near if near.startswith("Did") else ""
        )
    if len(ids) > 1:
        raise HeadroomError(
            "plan.vm_ambiguous", f"{len(ids)} VMs are named {vm!r}.", advice=f"Give one of {', '.join(ids[:5])}."
        )
    return found


def verdict_lines(decision: Decision, *, place: str) -> list[str]:
    """What was decided and why; ``place``: where the policy says so, "" where it is shipped or built in."""
    resource = decision.resource
    lines = [f"{resource}: {decision.verdict} ({decision.code}; {place or 'shipped or built in'})"]
    if decision.size_now or decision.size_wanted:  # of a setting that is no number both are 0
        has, wanted = size_text(resource, decision.size_now), size_text(resource, decision.size_wanted)
        lines.append(f"  has {has}, wanted {wanted}")
    lines.append(f"  because {decision.reason}")
    lines += [f"  told by {signal_text(one)}" for one in decision.signals]
    return lines if decision.service is None else [*lines, *_service_lines(resource, decision.service)]


def signal_text(one: Signalled) -> str:
    """Which signal, and the interval of telemetry that gave it."""
    return f"{one.code}: {one.metric} {one.value} in the {one.interval_s} s from {one.start}"


def _service_lines(resource: str, service: Service) -> list[str]:
    """What is expected of the cheapest size, how dear service is by now, and who said so."""
    cheapest, expected = size_text(resource, service.size), percent_text(service.violated_ppm)
    dear = f"service costs it {service.price_ppm / PPM:.2f} times what it costs a VM at ease"
    return [
        f"  cheapest {cheapest}: too little expected in {expected} % of the time, {spent_text(service)}",
        f"  {more_text(resource, service)} beyond what it saves; {dear}",
        f"  asked was {service.model}, for acts that hold after {service.lead_s} s",
    ]


def act_line(action: Action) -> str:
    """What is done, when, and how it is undone."""
    restart = "with a restart" if action.restart else "without a restart"
    window = f", from {action.not_before} until {action.not_after}" if action.not_before else ""
    waits = f", after {', '.join(action.after)}" if action.after else ""
    lead = f", done within {action.lead_ms / 1000:.1f} s (95 % of such acts)" if action.lead_ms else ""
    return (
        f"{action.action_id}: {action.operation} to {size_text(action.resource, action.span[1])}, mode {action.mode}, "
        f"{restart}, undone by {action.inverse.operation}, {action.inverse.when}{window}{waits}{lead}"
    )


def _explain_one(plan: Plan, decision: Decision) -> list[str]:
    place = f"line {decision.policy_line} of the policy" if decision.policy_line else ""
    lines = verdict_lines(decision, place=place)
    if decision.upper is not None:
        what = "largest use of the last day" if plan.purpose == PURPOSE_GUARD else "upper bound that counted"
        lines.append(f"  {what}: {decision.upper} {demand_of(decision.resource).metric}")
    lines += [f"  {act_line(action)}" for action in plan.actions if action.action_id == decision.action_id]
    return [f"  {line}" for line in lines]
