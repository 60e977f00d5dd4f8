# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a forecast is asked for, now or at past moments."""

from __future__ import annotations

from .._forecast.engines import COSTLY, DEFAULT_ENGINES, ENGINES
from .specs import Spec

# Documented in the fragment ``forecast``.
FORECAST: Spec = {
    "horizon_s": {"type": "int", "default": 3600},
    "interval_s": {"type": "int", "default": 300},
    "lead_s": {"type": "int", "default": 0},
    "history_s": {"type": "int", "default": 2419200},
    "series_interval_s": {"type": "int", "default": 300},
    "target": {"type": "str", "choices": ["mean", "maximum"], "default": "maximum"},
    "engines": {
        "type": "list",
        "elements": "str",
        "choices": [engine.name for engine in (*ENGINES, *COSTLY)],
        "default": list(DEFAULT_ENGINES),
    },
    "costly_vms": {"type": "int", "default": 50},
}
