# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headroom's own operating points as the product carries them: a table in Python, made from operating_points.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isinf
from pathlib import Path

from . import ours
from .policy import Point
from .table import ROWS

SHIPPED = Path(__file__).resolve().parents[3] / "plugins/module_utils/_jobs/operating_points.py"
HEAD = '''\
# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating points that are shipped, as they were found on recorded fleets. Only ``make tune`` writes this file.

By what is sized (``Measure.target``), seconds from a decision to when its size holds, and how sizes follow demand: ""
with sizes of any amount, "whole" in whole units.
"""

from __future__ import annotations

POINTS: dict[tuple[str, int, str], dict[str, float]] = {
'''


def shipped_text(points: Mapping[str, Mapping[str, Point]]) -> str:
    """The table of those rows that the product has a use for: no limit on resizes, no shrink that is put off."""
    lines = []
    for row in ROWS:
        point = points.get(row.name, {}).get(ours.NAME)
        if point is None or not isinf(row.most_resizes) or row.variant == "careful":
            continue
        lines.append(f"    ({json.dumps(row.target)}, {row.lead_s}, {json.dumps(row.variant)}): {{")
        lines += [f"        {json.dumps(name)}: {point[name]}," for name in ours.SPANS]
        lines.append("    },")
    return "\n".join([HEAD + lines[0], *lines[1:], "}\n"]) if lines else HEAD + "}\n"
