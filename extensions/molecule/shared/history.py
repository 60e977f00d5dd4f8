# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the telemetry store for one VM: ``history.py NOW UNIQUE_ID DEMAND``, the demand as JSON."""

from __future__ import annotations

import json
import os
import sys


def main(now: str, unique_id: str, demand: str) -> None:
    """Two weeks up to ``now``."""
    sys.path[:0] = os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")
    from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import parse_utc
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand

    series = SeriesStore(os.environ["HEADROOM_TELEMETRY"])
    backfill({unique_id: Demand(**json.loads(demand))}, series=series, now=parse_utc(now), weeks=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
