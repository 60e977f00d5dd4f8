# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From AnsibleModule to a job and back: nothing else knows that class."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, Callable, Optional
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

from .._core.clock import parse_utc, utc_now
from .._core.errors import HeadroomError
from .._jobs.context import STORES, Context, Result
from .endpoints import make_endpoints
from .specs import CONTEXT, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

Job = Callable[[Context, dict[str, Any]], Result]

MOST_WARNINGS = 20  # a fleet can have one for each VM; the artifacts hold them all


def run(job: Job, spec: Optional[Spec] = None, **rules: Any) -> None:
    """Run a job as a module and exit; ``spec`` are its options beside CONTEXT, ``rules`` go to AnsibleModule."""
    module = make_module(spec, rules)
    finish(module, lambda context: job(context, module.params))


def make_module(spec: Optional[Spec], rules: dict[str, Any]) -> AnsibleModule:
    """Read the options; exits when they are wrong."""
    return AnsibleModule(argument_spec={**CONTEXT, **(spec or {})}, supports_check_mode=True, **rules)


def finish(module: AnsibleModule, act: Callable[[Context], Result]) -> None:
    """Do it, and exit with what came of it or with the one clear error."""
    params = module.params
    endpoints = params.get("endpoints") or []
    module.no_log_values.update(_passwords(params))
    try:
        context = Context(
            now=parse_utc(params["now"]) if params["now"] else utc_now(),
            who=params["who"] or _user(),
            run_id=params["run_id"] or "",
            endpoints=make_endpoints(endpoints),
            urls={name: url for name in STORES if (url := params[f"{name}_url"])},
            check=module.check_mode,
        )
        try:
            result = act(context)
        finally:
            context.close()
        values = {"run_id": context.run, **result.values}
    except HeadroomError as error:
        module.fail_json(
            msg=f"{error.message} {error.advice}".strip(),
            code=error.code,
            advice=error.advice,
            details=error.details,
        )
    warnings = [*context.warnings, *result.warnings]
    for warning in warnings[:MOST_WARNINGS]:
        module.warn(warning)
    if len(warnings) > MOST_WARNINGS:
        module.warn(f"{len(warnings) - MOST_WARNINGS} more warnings are not shown.")
    if module._diff and (result.before or result.after):  # noqa: SLF001 - there is no public way to ask
        values["diff"] = {"before": result.before, "after": result.after}
    module.exit_json(changed=result.changed, **values)


def _passwords(value: Any) -> Iterator[str]:
    """The password of every URL among the options, to be masked wherever it might appear; where one belongs or not."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _passwords(one)
    elif isinstance(value, str) and "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            return
        if password:
            yield from {password, unquote(password)}


def _user() -> str:
    """Who runs this; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
