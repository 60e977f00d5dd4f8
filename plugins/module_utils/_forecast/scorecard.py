# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose forecasts may act: daily figures of each series in, demoted or trusted out, with the reason.

A demoted series is only recommended for. It is judged once per UTC day, by whole days, and at the size its VM really
kept; what the forecast might have done elsewhere counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

WINDOW_DAYS = 28  # looked back on
LEAST_DAYS = 7  # with figures, before anything is judged, and the good ones that bring a series back
FLIP_DAYS = 7  # from one change of standing to the next
MOST_VIOLATED = 0.01  # of the intervals, of whoever has no larger error budget: that is there to be spent
LEAST_COVERED = 0.85  # of the intervals, by what should cover 90 %
LEAST_INTERVALS = 300  # scored in the window: of fewer, a few unlucky ones are more than 1 %
# A mean loss below this share of the size is none. A series that never moves leaves naive without any error at all, and
# nobody is to be demoted for the margin that a forecast keeps there.
NEGLIGIBLE = 0.001
NEVER = -1  # the day of a change of standing that has not been

VIOLATIONS, PINBALL, COVERAGE, RETURNED = "violations", "pinball", "coverage", "returned"


@dataclass(frozen=True)
class Daily:
    """Figures of S series on D days that follow each other, each [S, D]; a day without any holds zeros."""

    last_day: int  # days since 1970 UTC
    scored: Integers  # intervals
    violated: Integers  # of these
    loss: Doubles  # pinball at the policy's quantile, as shares of the size, summed
    naive_loss: Doubles  # of the last value known, carried on
    covered: Doubles  # of ``banded``; ties count in part
    banded: Integers  # of ``scored``, those that had an interval of 90 %


class Shares(NamedTuple):
    """Of S series over the days that count for each, [S]; NaN where there is nothing to divide by."""

    days: Integers
    scored: Integers
    violated: Doubles
    loss: Doubles
    naive_loss: Doubles
    covered: Doubles


class Flip(NamedTuple):
    """A change of standing."""

    row: int
    demoted: bool
    code: str
    reason: str


class _Rule(NamedTuple):
    code: str
    broken: Callable[[Shares, Doubles], Flags]  # with the share of the intervals that may be violated, of each
    words: Callable[[Shares, Doubles, int], str]


def judge(daily: Daily, *, demoted: Flags, since: Integers, budget: Doubles) -> tuple[Flip, ...]:
    """Return who changes standing after the last of these days, WINDOW_DAYS of them or more.

    ``demoted`` [S] and ``since`` [S] (day of the last change, or NEVER) are the standings so far, ``budget`` [S] is the
    share of its intervals that each may get too little in. Who was trusted again is judged by the days that earned it
    and those since: the older ones have had their answer.
    """
    with needs("numpy"):
        import numpy as np
    known = daily.scored > 0
    days = daily.last_day - daily.scored.shape[1] + 1 + np.arange(daily.scored.shape[1])
    first = np.maximum(daily.last_day - WINDOW_DAYS + 1, np.where(since == NEVER, 0, since - LEAST_DAYS + 1))
    newest = (_newer(known.astype(np.int64)) < LEAST_DAYS) | (_newer(daily.scored) < LEAST_INTERVALS)
    counts = np.where(
        demoted[:, None],
        newest & (days > since[:, None]) & (days > daily.last_day - WINDOW_DAYS),
        days >= first[:, None],
    )
    found = shares(daily, counts & known)
    judged = (found.days >= LEAST_DAYS) & (found.scored >= LEAST_INTERVALS)
    judged &= (since == NEVER) | (daily.last_day - since >= FLIP_DAYS)
    most = np.maximum(budget, MOST_VIOLATED)
    broken = np.stack([rule.broken(found, most) for rule in _RULES])
    bad = np.asarray(broken.any(axis=0))
    flips = []
    for row in np.flatnonzero(judged & (bad != demoted)).tolist():
        if bad[row]:
            rules = [rule for rule, holds in zip(_RULES, broken[:, row].tolist()) if holds]
            reason = "; ".join(rule.words(found, most, row) for rule in rules)
            flips.append(Flip(row, demoted=True, code=rules[0].code, reason=reason))
        else:
            flips.append(Flip(row, demoted=False, code=RETURNED, reason=f"{found.days[row]} days above all three"))
    return tuple(flips)


def _newer(counts: Integers) -> Integers:
    """The sum of the days after each, [S, D]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] - counts, dtype=np.int64)


def shares(daily: Daily, counts: Flags) -> Shares:
    """Sum the days that count, [S, D]."""
    with needs("numpy"):
        import numpy as np

    def total(figure: npt.NDArray[Any]) -> Doubles:
        return np.asarray(np.where(counts, figure, 0).sum(axis=1), dtype=np.float64)

    def ratio(above: Doubles, below: Doubles) -> Doubles:
        return np.asarray(np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0))

    scored, banded = total(daily.scored), total(daily.banded)
    return Shares(
        days=np.count_nonzero(counts, axis=1),
        scored=scored.astype(np.int64),
        violated=ratio(total(daily.violated), scored),
        loss=ratio(total(daily.loss), scored),
        naive_loss=ratio(total(daily.naive_loss), scored),
        covered=ratio(total(daily.covered), banded),
    )


def may_return(since: int) -> int:
    """The first day after which a demoted series may be trusted again, if it does well from now on."""
    return since + max(LEAST_DAYS, FLIP_DAYS)


def _percent(share: float) -> str:
    """Two digits at least: 1.04 % is more than 1 %."""
    return f"{share * 100:.3g} %"


# A comparison with NaN, where nothing is known, is false: nobody is demoted for it.
_RULES = (
    _Rule(
        VIOLATIONS,
        lambda found, most: found.violated > most,
        lambda found, most, row: (
            f"violated {_percent(found.violated[row])} of {found.days[row]} days, more than {_percent(most[row])}"
        ),
    ),
    _Rule(
        PINBALL,
        lambda found, _most: (found.loss >= found.naive_loss) & (found.loss >= NEGLIGIBLE),
        lambda found, _most, row: (
            f"lost {_percent(found.loss[row])} of the size in {found.days[row]} days, "
            f"no less than the last value carried on, {_percent(found.naive_loss[row])}"
        ),
    ),
    _Rule(
        COVERAGE,
        lambda found, _most: found.covered < LEAST_COVERED,
        lambda found, _most, row: (
            f"the 90 % interval covered {_percent(found.covered[row])} of {found.days[row]} days, "
            f"less than {_percent(LEAST_COVERED)}"
        ),
    ),
)
