# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where telemetry comes from, as people write it, to the job that reads it from there."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._core.errors import HeadroomError
from .._jobs.context import Context, Result
from .._jobs.telemetry import collect_file, collect_prometheus, collect_samplers, collect_telemetry
from .._telemetry.files import Column, Layout
from .._telemetry.http import Server
from .._telemetry.prometheus import Query
from .specs import ENDPOINTS, Spec

# Of one metric; documented in the module telemetry_collect.
QUERY: Spec = {
    "query": {"type": "str", "required": True},
    "unique_id": {"type": "str", "default": "{unique_id}"},
    "factor": {"type": "float", "default": 1.0},
}
COLUMN: Spec = {
    "mean": {"type": "str", "required": True},
    "p95": {"type": "str", "default": ""},
    "maximum": {"type": "str", "default": ""},
    "factor": {"type": "float", "default": 1.0},
    "times": {"type": "str", "default": ""},
    "name": {"type": "str", "default": ""},
}

TELEMETRY: Spec = {
    "endpoints": {**ENDPOINTS["endpoints"], "required": False},
    "duration_s": {"type": "int", "default": 60},
    "step_s": {"type": "int", "default": 5},
    "interval_s": {"type": "int", "default": 300},
    "guest_agent": {"type": "bool", "default": True},
    "prometheus": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "metrics": {"type": "dict", "required": True},
            "history_s": {"type": "int", "default": 3600},
            "step_s": {"type": "int", "default": 60},
            "token": {"type": "str", "no_log": True},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "ca_path": {"type": "path"},
            "validate_certs": {"type": "bool", "default": True},
            "timeout_s": {"type": "int", "default": 60},
        },
        "mutually_exclusive": [("token", "user")],
        "required_together": [("user", "password")],
    },
    "file": {"type": "path"},
    "layout": {
        "type": "dict",
        "options": {
            "metrics": {"type": "dict", "required": True},
            "unique_id": {"type": "str", "default": "unique_id"},
            "ds": {"type": "str", "default": "ds"},
            "metric": {"type": "str", "default": ""},
            "assume_utc": {"type": "bool", "default": False},
            "shift_s": {"type": "int", "default": 0},
        },
    },
    "sampler": {"type": "path"},
    "sampler_history_s": {"type": "int", "default": 3600},
    "snapshot": {"type": "str"},
    "vms": {"type": "dict"},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [("prometheus", "file", "sampler")],
    "required_together": [("file", "layout")],
}


def collect_from(context: Context, params: dict[str, Any]) -> Result:
    """From Prometheus, a file or samplers where they are given, else from the endpoints. Raises ``metric.invalid``."""
    interval_s = params["interval_s"]
    whose: dict[str, Any] = {"snapshot": params["snapshot"], "vms": params["vms"]}
    if params["prometheus"]:
        given = params["prometheus"]
        names = ("url", "token", "user", "password", "ca_path", "validate_certs", "timeout_s")
        server = Server(**{name: given[name] for name in names if given[name] is not None})
        queries = {metric: Query(**checked) for metric, checked in _checked(given["metrics"], QUERY).items()}
        times = {name: given[name] for name in ("history_s", "step_s")}
        return collect_prometheus(context, server, queries, interval_s=interval_s, **times, **whose)
    if params["file"]:
        given = dict(params["layout"])
        columns = {metric: Column(**checked) for metric, checked in _checked(given.pop("metrics"), COLUMN).items()}
        return collect_file(context, params["file"], Layout(columns, interval_s, **given), **whose)
    if params["sampler"]:
        return collect_samplers(
            context, params["sampler"], history_s=params["sampler_history_s"], interval_s=interval_s
        )
    sampling = {name: params[name] for name in ("duration_s", "step_s", "guest_agent")}
    return collect_telemetry(context, interval_s=interval_s, **sampling)


def _checked(given: dict[str, Any], spec: Spec) -> dict[str, dict[str, Any]]:
    """Metric -> its options. Raises ``metric.invalid``."""
    found = {}
    for metric, options in given.items():
        checked = ArgumentSpecValidator(spec).validate(options if isinstance(options, dict) else {"": options})
        if checked.error_messages:
            raise HeadroomError(
                "metric.invalid",
                f"What is said of the metric {metric} cannot be read: {'; '.join(checked.error_messages)}.",
                advice=f"Give a mapping with {', '.join(spec)}.",
            )
        found[metric] = checked.validated_parameters
    return found
