# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating points that are shipped, as they were found on recorded fleets. Only ``make tune`` writes this file.

By what is sized (``Measure.target``), seconds from a decision to when its size holds, and how sizes follow demand: ""
with sizes of any amount, "whole" in whole units.
"""

from __future__ import annotations

POINTS: dict[tuple[str, int, str], dict[str, float]] = {
    ("cpu", 0, ""): {
        "violation": 1.54,
        "unserved": 8.894,
        "resize": 0.003547,
        "ledger": 1.907,
        "at_ease": 1.038,
        "whole_from": 0.86,
        "jump": 2.011,
        "peak": 1.029,
        "step": 0.01024,
        "most": 0.1088,
        "half_life_h": 15.64,
        "beyond": 1.161,
    },
    ("cpu", 300, ""): {
        "violation": 3.5,
        "unserved": 22.9,
        "resize": 0.00247,
        "ledger": 0.9665,
        "at_ease": 0.0,
        "whole_from": 0.9,
        "jump": 1.802,
        "peak": 1.024,
        "step": 0.02707,
        "most": 0.2387,
        "half_life_h": 22.81,
        "beyond": 1.512,
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
        "violation": 1.272,
        "unserved": 33.77,
        "resize": 0.4202,
        "ledger": 1.707,
        "at_ease": 0.02803,
        "whole_from": 0.786,
        "jump": 2.914,
        "peak": 1.145,
        "step": 0.0808,
        "most": 1.109,
        "half_life_h": 4.585,
        "beyond": 1.145,
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
