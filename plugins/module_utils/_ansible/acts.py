# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that act: they end the act in flight when they are asked to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable

from .._apply.lease import LeaseTerms
from .._core.errors import HeadroomError
from .._jobs.context import Context, Result
from .run import finish, make_module
from .specs import Spec

StoppableJob = Callable[[Context, dict[str, Any], threading.Event, LeaseTerms], Result]

# Documented in the fragment ``acts``.
ACTS: Spec = {"lease_s": {"type": "int", "default": 30}, "lease_wait_s": {"type": "int", "default": 45}}
# Documented in the fragment ``acts.workers``: of modules with acts on many VMs.
WORKERS: Spec = {"workers": {"type": "int", "default": 4}}

LEAST = {"workers": 1, "lease_s": 1, "lease_wait_s": 0}  # with less nothing would begin, or no lease would last

# What may reach a module when its playbook ends early: an automation controller's cancel, Ctrl-C, a lost terminal.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_acts(job: StoppableJob, spec: Spec, **rules: Any) -> None:
    """As ``run``, for a job that writes to platforms."""
    module = make_module({**ACTS, **spec}, rules)
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())

    def act(context: Context) -> Result:
        return job(context, module.params, stop, _terms(module.params))

    finish(module, act)


def _terms(params: dict[str, Any]) -> LeaseTerms:
    """Raises ``acts.option``."""
    for name, least in LEAST.items():
        if params.get(name, least) < least:
            raise HeadroomError("acts.option", f"{name} is {params[name]}.", advice=f"Give {least} or more.")
    return LeaseTerms(ttl_s=params["lease_s"], wait_s=params["lease_wait_s"])
