# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A glance at the telemetry store: a number of each VM, or the few rows that stand out, with no header to name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.needs import needs
from .delta import query
from .groups import Ids, numbers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .groups import Source
    from .scan import Scan

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]


class Peaks(NamedTuple):
    """Rows of one metric, of VMs that were asked for; sorted by VM and time."""

    place: Integers  # [N], of the VM among those asked for
    ds_us: Integers  # [N], START, since the epoch
    mean: Doubles  # [N]

    def only(self, rows: npt.NDArray[Any]) -> Peaks:
        """Some of them, by flags or numbers."""
        return Peaks(self.place[rows], self.ds_us[rows], self.mean[rows])


def above(scan: Scan, metric: str, least: float) -> dict[str, float]:
    """The largest mean of a metric of each VM that was ever above 0 and no less than this; intervals of any length."""
    text = (
        "SELECT unique_id, MAX(mean) AS peak FROM series "  # noqa: S608 - own values
        f"WHERE {scan.span.when([metric])} AND mean > 0 AND mean >= {least!r} GROUP BY unique_id"
    )
    largest: dict[str, float] = {}
    for source in scan.sources:
        for batch in query(source.table, text):
            for unique_id, peak in zip(batch["unique_id"].to_pylist(), batch["peak"].to_pylist()):
                largest[unique_id] = max(peak, largest.get(unique_id, peak))
    return largest


def known(scan: Scan, metric: str) -> bool:
    """Whether there is a row of a metric, of whatever VM."""
    text = f"SELECT ds FROM series WHERE {scan.span.where([metric])} LIMIT 1"  # noqa: S608 - own values
    return any(batch.num_rows for source in scan.sources for batch in query(source.table, text))


def rows_above(scan: Scan, metric: str, least: float) -> Peaks:
    """The rows of a metric above 0 and no less than this, of intervals of the scan's length.

    What a file's statistics say is below is not read.
    """
    with needs("numpy"):
        import numpy as np
    base, overlay = scan.sources
    found = _rows(scan, base, metric, f"AND mean > 0 AND mean >= {least!r}")
    over = _rows(scan, overlay, metric, "")  # its rows take the place of the base's, whatever they say
    if len(over.place):
        old, new = (one.place * scan.span.slots + scan.span.slots_of(one.ds_us) for one in (found, over))
        found = _joined(found.only(~np.isin(old, new)), over.only((over.mean > 0) & (over.mean >= least)))
    return found.only(np.lexsort((found.ds_us, found.place)))


def _rows(scan: Scan, source: Source, metric: str, condition: str) -> Peaks:
    """A mean that is no number says nothing."""
    with needs("numpy"):
        import numpy as np
    text = (
        "SELECT unique_id, ds, mean FROM series "  # noqa: S608 - own values
        f"WHERE {scan.span.where([metric])} {condition}"
    )
    ids = Ids(scan.unique_ids)
    parts = [Peaks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for batch in query(source.table, text):
        code, places = ids.of(batch["unique_id"])
        place, mean = places[code], numbers(batch["mean"])
        told = (place >= 0) & np.isfinite(mean)
        parts.append(Peaks(place, numbers(batch["ds"]), mean).only(told))
    return _joined(*parts)


def _joined(*parts: Peaks) -> Peaks:
    with needs("numpy"):
        import numpy as np
    place, ds_us, mean = (np.concatenate(of) for of in zip(*parts))
    return Peaks(place, ds_us, mean)
