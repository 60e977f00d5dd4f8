# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating points that are shipped, as they were found on recorded fleets. Only ``make tune`` writes this file.

By what is sized (``Measure.target``), seconds from a decision to when its size holds, and how sizes follow demand: ""
with sizes of any amount, "whole" in whole units.
"""

from __future__ import annotations

POINTS: dict[tuple[str, int, str], dict[str, float]] = {
    ("cpu", 0, ""): {
        "violation": 1.983,
        "unserved": 6.814,
        "resize": 0.003372,
        "ledger": 1.422,
        "at_ease": 0.9887,
        "whole_from": 0.8382,
        "jump": 1.694,
        "peak": 1.18,
        "step": 0.01405,
        "most": 0.07014,
        "half_life_h": 12.86,
        "beyond": 1.04,
    },
    ("cpu", 300, ""): {
        "violation": 2.092,
        "unserved": 17.73,
        "resize": 0.005201,
        "ledger": 1.589,
        "at_ease": 0.06338,
        "whole_from": 0.8927,
        "jump": 2.434,
        "peak": 1.035,
        "step": 0.01773,
        "most": 0.5036,
        "half_life_h": 35.32,
        "beyond": 1.466,
    },
    ("cpu", 3600, ""): {
        "violation": 6.412,
        "unserved": 32.55,
        "resize": 0.003836,
        "ledger": 2.27,
        "at_ease": 0.6312,
        "whole_from": 0.9561,
        "jump": 2.805,
        "peak": 1.2,
        "step": 0.02412,
        "most": 1.221,
        "half_life_h": 24.77,
        "beyond": 1.0,
    },
    ("memory", 0, ""): {
        "violation": 9.26,
        "unserved": 64.75,
        "resize": 0.4569,
        "ledger": 1.314,
        "at_ease": 0.09008,
        "whole_from": 0.8262,
        "jump": 1.2,
        "peak": 1.0,
        "step": 0.04181,
        "most": 1.987,
        "half_life_h": 6.281,
        "beyond": 1.036,
    },
    ("cpu", 0, "whole"): {
        "violation": 0.8681,
        "unserved": 4.008,
        "resize": 0.01521,
        "ledger": 1.232,
        "at_ease": 0.1536,
        "whole_from": 0.8197,
        "jump": 1.258,
        "peak": 0.8639,
        "step": 0.02416,
        "most": 0.1,
        "half_life_h": 17.33,
        "beyond": 1.675,
    },
}
