# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sizing policy says about one VM, line by line."""

from __future__ import annotations

from .._records.vm import VM
from .sizing import SizingPolicy


def explain_settings(policy: SizingPolicy, vm: VM) -> str:
    """The rules that fit, and every setting with its value and the line that decided it."""
    rules = [rule for rule in policy.rules if rule.match.fits(vm)]
    flat = dict(policy.defaults)
    for rule in rules:
        flat.update(rule.settings)
    lines = [f"{vm.name} ({vm.unique_id}) under {policy.name}"]
    lines += [f"  rule {rule.name!r} fits (line {rule.line})" for rule in rules] or ["  no rule fits"]
    for name, setting in flat.items():
        value = "none" if setting.value is None else "always" if setting.value == () else setting.value
        place = f"line {setting.line}" if setting.line else "shipped policy"
        lines.append(f"  {name}: {value} ({place})")
    return "\n".join([*lines, ""])
