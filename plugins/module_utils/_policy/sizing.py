# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizing policy: what each VM may be given, and how carefully.

Settings come from the shipped policy, then ``defaults``, then every rule that fits, in order: the last one that says
something about a setting decides it. ``budgets`` is taken whole, from here or from there: a limit left out of it is 1.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Optional, Union

from .._records.plan import Budget, Limits
from .._records.vm import VM
from .default import DEFAULT_POLICY, DEFAULT_SOURCE
from .kinds import NONE, Integer
from .load import Document, Entry, Node, compose, read_schema
from .rules import Match, read_match
from .settings import PROFILE_NONE, SECTIONS, SETTINGS, Setting, Settings, build_settings, read_settings

KIND = "sizing-policy"
VERSION = 1
MAX_RULES = 500

_CAPACITY: dict[str, Any] = {"ha_reserve_hosts": Integer(0, 100)}
_PLAN = {"expires_hours": Integer(1, 24 * 14)}
SECONDS_PER_HOUR = 3600
_TOP = ("schema", "defaults", "rules", "capacity", "host_sets", "budgets", "plan")
_WINDOW_HOURS = 24  # of a rolling budget that says nothing else
LONGEST_WINDOW_HOURS = 24 * 31  # so long the journal keeps every act (state_prune)
_LIMIT = Integer(1, 100_000)
_LIMITS = dict.fromkeys(("per_host", "per_host_set", "per_tenant", "per_platform"), _LIMIT)


@dataclass(frozen=True)
class Rule:
    """A block of settings and the VMs it is for."""

    name: str
    line: int
    match: Match
    settings: dict[str, Setting]


@dataclass(frozen=True)
class Reserve:
    """How many lost hosts a host set must be able to bear; ``pattern`` of the host sets' names."""

    pattern: str
    hosts: int
    line: int


@dataclass(frozen=True)
class SizingPolicy:
    """A checked policy; ``effective`` gives what it says about one VM."""

    name: str
    defaults: dict[str, Setting]
    rules: tuple[Rule, ...]
    budget: Budget
    reserves: tuple[Reserve, ...]  # the last that fits decides; the first fits all
    expires_hours: int
    _known: dict[tuple[int, ...], Settings] = field(default_factory=dict, compare=False, repr=False)

    def effective(self, vm: VM) -> Settings:
        """What holds for this VM: one object per combination of rules. Raises as ``load_policy``."""
        fitting = tuple(index for index, rule in enumerate(self.rules) if rule.match.fits(vm))
        if fitting not in self._known:
            flat = dict(self.defaults)
            for index in fitting:
                flat.update(self.rules[index].settings)
            self._known[fitting] = build_settings(flat, name=self.name)
        return self._known[fitting]

    def until(self, now: datetime) -> datetime:
        """When a plan that is made now expires."""
        return now + timedelta(hours=self.expires_hours)

    def reserve_of(self, host_set: str) -> Reserve:
        """Return the reserve that this host set keeps."""
        return [reserve for reserve in self.reserves if fnmatch.fnmatchcase(host_set, reserve.pattern)][-1]

    def quantiles(self, resource: str) -> tuple[str, ...]:
        """Every quantile by which some VM may be sized, none of what is not planned: a forecast must hold them all."""
        section = SECTIONS[resource][0]
        key, profile = f"{section}.quantile", f"{section}.profile"
        blocks = [self.defaults, *(rule.settings for rule in self.rules)]
        profiles = {block[profile].value for block in blocks if profile in block}
        if profiles == {PROFILE_NONE}:
            return ()
        return tuple(sorted({block[key].value for block in blocks if key in block}))

    def least(self, name: str) -> float:
        """The least value of a setting that is a number, for whatever VM."""
        blocks = [self.defaults, *(rule.settings for rule in self.rules)]
        return min(float(block[name].value) for block in blocks if name in block)

    def most(self, name: str) -> float:
        """The largest value of a setting that is a number, for whatever VM."""
        blocks = [self.defaults, *(rule.settings for rule in self.rules)]
        return max(float(block[name].value) for block in blocks if name in block)


def load_policy(text: Union[str, bytes], *, name: str) -> SizingPolicy:
    """Read and check a sizing policy. ``name``, that of its file, stands in every error. Raises ``policy.*``."""
    document = compose(text, name=name)
    read_schema(document, kind=KIND, version=VERSION)
    top = document.mapping(document.root, known=_TOP, path="the policy")

    def layered(section: str, schema: dict[str, Any]) -> dict[str, Setting]:
        flat = dict(_shipped()[section])
        if section in top:
            flat.update(read_settings(document, top[section].node, schema=schema, path=section))
        return flat

    defaults = layered("defaults", SETTINGS)
    build_settings(defaults, name=name)
    capacity = layered("capacity", _CAPACITY)
    return SizingPolicy(
        name=name,
        defaults=defaults,
        rules=_read_rules(document, top.get("rules"), defaults),
        budget=_read_budget(document, top["budgets"].node) if "budgets" in top else _shipped_budget(),
        reserves=(Reserve("*", *capacity["ha_reserve_hosts"]), *_read_reserves(document, top.get("host_sets"))),
        expires_hours=layered("plan", _PLAN)["expires_hours"].value,
    )


def default_policy() -> SizingPolicy:
    """Return the shipped policy; its lines are those of ``DEFAULT_POLICY``."""
    return load_policy(DEFAULT_POLICY, name=DEFAULT_SOURCE)


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, Setting]]:
    """The sections of the shipped policy that others build on, with line 0."""
    document = compose(DEFAULT_POLICY, name=DEFAULT_SOURCE)
    top = document.mapping(document.root, known=_TOP, path="the policy")
    found = {}
    for section, schema in (("defaults", SETTINGS), ("capacity", _CAPACITY), ("plan", _PLAN)):
        flat = read_settings(document, top[section].node, schema=schema, path=section)
        found[section] = {key: Setting(setting.value, 0) for key, setting in flat.items()}
    return found


@lru_cache(maxsize=1)
def _shipped_budget() -> Budget:
    document = compose(DEFAULT_POLICY, name=DEFAULT_SOURCE)
    return _read_budget(document, document.mapping(document.root, known=_TOP, path="the policy")["budgets"].node)


def _read_rules(document: Document, entry: Optional[Entry], defaults: dict[str, Setting]) -> tuple[Rule, ...]:
    if entry is None:
        return ()
    nodes = document.sequence(entry.node, path="rules")
    if len(nodes) > MAX_RULES:
        raise document.error(entry.node, f"there are {len(nodes)} rules", advice=f"At most {MAX_RULES} are read.")
    rules = []
    for index, node in enumerate(nodes):
        path = f"rules[{index}]"
        entries = document.mapping(node, known=("name", "match", "when", "set"), path=path)
        if "set" not in entries:
            raise document.error(node, f"{path} sets nothing", advice="Give it set, with settings as in defaults.")
        settings = read_settings(document, entries["set"].node, schema=SETTINGS, path=f"{path}.set")
        if not settings:
            raise document.error(entries["set"].node, f"{path}.set is empty")
        build_settings({**defaults, **settings}, name=document.name)
        title = document.text(entries["name"].node, path=f"{path}.name") if "name" in entries else path
        match = read_match(document, node, entries, path)
        rules.append(Rule(name=title, line=node.start_mark.line + 1, match=match, settings=settings))
    return tuple(rules)


def _read_reserves(document: Document, entry: Optional[Entry]) -> list[Reserve]:
    reserves = []
    for index, node in enumerate(document.sequence(entry.node, path="host_sets") if entry else ()):
        path = f"host_sets[{index}]"
        entries = document.mapping(node, known=("match", "ha_reserve_hosts"), path=path)
        for key in ("match", "ha_reserve_hosts"):
            if key not in entries:
                raise document.error(node, f"{path} has no {key!r}")
        hosts = entries["ha_reserve_hosts"]
        count = _CAPACITY["ha_reserve_hosts"].read(document, hosts.node, f"{path}.ha_reserve_hosts")
        reserves.append(Reserve(document.text(entries["match"].node, path=f"{path}.match"), count, hosts.line))
    return reserves


def _read_budget(document: Document, block: Node) -> Budget:
    entries = document.mapping(block, known=("at_once", "window"), path="budgets")
    first = entries.get("at_once")
    at_once = _read_limits(document, first.node, _LIMITS, "budgets.at_once") if first else {}
    if "window" not in entries:
        return Budget(at_once=Limits(**at_once), window=Limits(), window_s=_WINDOW_HOURS * SECONDS_PER_HOUR)
    node = entries["window"].node
    if node.id == "scalar":
        document.choice(node, options=(NONE,), path="budgets.window")
        return Budget(at_once=Limits(**at_once))
    window = _read_limits(document, node, {"hours": Integer(1, LONGEST_WINDOW_HOURS), **_LIMITS}, "budgets.window")
    hours = window.pop("hours", _WINDOW_HOURS)
    return Budget(at_once=Limits(**at_once), window=Limits(**window), window_s=hours * SECONDS_PER_HOUR)


def _read_limits(document: Document, node: Node, schema: dict[str, Integer], path: str) -> dict[str, int]:
    return {key: setting.value for key, setting in read_settings(document, node, schema=schema, path=path).items()}
