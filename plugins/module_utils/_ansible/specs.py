# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that many modules share; their documentation is in doc_fragments."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

Spec = dict[str, Any]


def _store(variable: str, **rest: Any) -> Spec:
    return {"type": "str", "fallback": (env_fallback, [variable]), **rest}


# Documented in the fragment ``context``.
CONTEXT: Spec = {
    "artifacts_url": _store("HEADROOM_ARTIFACTS"),
    # The one store whose URL may carry a password.
    "state_url": _store("HEADROOM_STATE", no_log=True),
    "telemetry_url": _store("HEADROOM_TELEMETRY"),
    "run_id": {"type": "str"},
    "now": {"type": "str"},
    "who": {"type": "str"},
}

# Documented in the fragment ``endpoints``.
ENDPOINTS: Spec = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "uri": {"type": "str", "required": True},
            "host_set": {"type": "str", "default": ""},
            "vcpus_reserved": {"type": "int", "default": 0},
            "memory_reserved_mib": {"type": "int", "default": 0},
            "vcpus_allocation_ratio": {"type": "float", "default": 4.0},
            "memory_allocation_ratio": {"type": "float", "default": 1.0},
            "read_only": {"type": "bool", "default": False},
        },
    },
}

# Documented in the fragment ``policy``.
POLICY: Spec = {"policy": {"type": "path"}}
