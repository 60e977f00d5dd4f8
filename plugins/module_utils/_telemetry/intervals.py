# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates to intervals: per VM, metric and interval the mean, the 95th percentile, the maximum and what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.needs import needs
from .._core.units import PPM
from .._records.series import COLUMNS, KEY, VALUES, interval_schema
from .rates import Steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

P95 = 0.95


def intervals(steps: Steps, *, interval_s: int) -> pa.Table:
    """Sum up steps per interval; ds is its START, a multiple of ``interval_s`` since the epoch.

    A step across a border counts on both sides by its share. The mean is weighted by time. p95 (the smallest rate not
    exceeded in 95 % of the known time) and maximum are over the rates of steps; they are null unless the interval has a
    step of at most half its length, for a longer one is a mean itself and hides its own peak. ``samples`` counts such
    short steps, ``coverage_ppm`` is the known share of the interval. An interval without a step has no row.
    """
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    interval_us = interval_s * 1_000_000
    first = steps.start_us // interval_us
    touched = -(-steps.end_us // interval_us) - first
    step = np.repeat(np.arange(len(first)), touched)
    slot = first[step] + np.arange(len(step)) - np.repeat(np.cumsum(touched) - touched, touched)
    start_us = np.maximum(steps.start_us[step], slot * interval_us)
    end_us = np.minimum(steps.end_us[step], (slot + 1) * interval_us)
    weight = (end_us - start_us).astype(np.float64)
    value = steps.value[step]
    short = 2 * (steps.end_us - steps.start_us)[step] <= interval_us

    order = np.lexsort((value, slot, steps.metric[step], steps.vm[step]))
    vm, metric, slot = steps.vm[step][order], steps.metric[step][order], slot[order]
    value, weight, short = value[order], weight[order], short[order]
    if not len(vm):
        return interval_schema().empty_table()
    starts = np.flatnonzero(np.append(True, (np.diff(vm) != 0) | (np.diff(metric) != 0) | (np.diff(slot) != 0)))
    ends = np.append(starts[1:], len(vm)) - 1
    known_us = np.add.reduceat(weight, starts)
    maximum = value[ends]  # sorted by value within each interval
    samples = np.add.reduceat(short.astype(np.int64), starts)
    columns = {
        "unique_id": pa.array(steps.unique_ids, pa.string()).take(pa.array(vm[starts])),
        "metric": pa.array(steps.metrics, pa.string()).take(pa.array(metric[starts])),
        "ds": pa.array(slot[starts] * interval_us, pa.timestamp("us", "UTC")),
        "interval_s": pa.array(np.full(len(starts), interval_s, dtype=np.int32)),
        "mean": pa.array(np.minimum(np.add.reduceat(value * weight, starts) / known_us, maximum)),
        "p95": pa.array(_p95(value, weight, starts, known_us), mask=samples == 0),
        "maximum": pa.array(maximum, mask=samples == 0),
        "samples": pa.array(samples, pa.int32()),
        "coverage_ppm": pa.array(np.minimum(known_us * PPM // interval_us, PPM).astype(np.int32)),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=interval_schema())


def combined(known: pa.Table, fresh: pa.Table) -> pa.Table:
    """Return the fresh rows, each joined with what is known of its interval from an earlier, partial sampling.

    Two samplings of one interval are taken as apart in time when their coverage adds up to at most the whole: then the
    mean is weighted, the maximum is the larger one (and no less than either mean), p95 is the larger one too (an upper
    bound), and counts add up. Otherwise they overlap, as in ``fuller``. Both tables hold each key once.
    """
    return _joined(known, fresh, parts=True)


def fuller(known: pa.Table, fresh: pa.Table) -> pa.Table:
    """Return the fresh rows, each joined with what is known of its interval from whatever source.

    For a source that is read again over the same time, or beside another one. The row that speaks for more of the
    interval counts, if none does the fresh one: late points count, what a source has forgotten since does not. Its
    maximum is the larger of the two, and no less than either mean: a peak that was seen stays, for a source with a
    coarser step has only missed it. Both tables hold each key once.
    """
    return _joined(known, fresh, parts=False)


def _joined(known: pa.Table, fresh: pa.Table, *, parts: bool) -> pa.Table:
    """Join row by row; ``parts``: rows that fit beside each other in one interval are parts of it."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    known = known.select(COLUMNS).cast(interval_schema()).rename_columns([*KEY, *(f"known_{name}" for name in VALUES)])
    both = fresh.join(known, keys=list(KEY))
    poorer = pc.less(both["coverage_ppm"], both["known_coverage_ppm"]).fill_null(fill_value=False)
    columns = {name: both[name] for name in KEY}
    for name in VALUES:
        columns[name] = pc.if_else(poorer, both[f"known_{name}"], both[name])
    peak = pc.max_element_wise(both["maximum"], both["known_maximum"])
    columns["maximum"] = pc.if_else(
        pc.is_valid(peak), pc.max_element_wise(peak, both["mean"], both["known_mean"]), peak
    )
    if parts:
        coverage = pc.add(both["coverage_ppm"], both["known_coverage_ppm"])
        apart = pc.and_(pc.less_equal(coverage, PPM), pc.greater(coverage, 0)).fill_null(fill_value=False)

        def share(mean: str, part: str) -> pa.ChunkedArray:
            return pc.multiply(both[mean], pc.divide(both[part].cast(pa.float64()), coverage))

        sums = {
            "mean": pc.add(share("mean", "coverage_ppm"), share("known_mean", "known_coverage_ppm")),
            "p95": pc.max_element_wise(both["p95"], both["known_p95"]),
            "samples": pc.add(both["samples"], both["known_samples"]),
            "coverage_ppm": coverage,
        }
        for name, of_both in sums.items():
            columns[name] = pc.if_else(apart, of_both, columns[name])
    return pa.table([columns[name] for name in COLUMNS], names=list(COLUMNS)).cast(interval_schema())


def _p95(
    value: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int64],
    known_us: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Weighted nearest rank per group; values ascend within each group."""
    with needs("numpy"):
        import numpy as np
    below = np.cumsum(weight)
    offset = below[starts] - weight[starts]  # weight of all groups before
    reached = np.searchsorted(below, offset + P95 * known_us)  # whole microseconds: exact up to 2**53
    last = np.append(starts[1:], len(value)) - 1
    return np.asarray(value[np.minimum(reached, last)])
