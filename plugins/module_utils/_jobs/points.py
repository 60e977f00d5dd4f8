# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operating points for a use: those that are shipped, and what a user replaces of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .operating_points import POINTS
from .recorded import MEASURES
from .sizer import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_ONCE, WHOLE = "", "whole"  # how sizes follow demand, as in POINTS


def shipped(metric: str, lead_s: int, *, follows: str = AT_ONCE) -> OperatingPoint:
    """The point that was tuned for the least lead that is no shorter, since a longer one asks for more care.

    Where none was tuned for sizes that follow so, that of sizes of any amount at once; beyond the longest, the longest.
    """
    target = MEASURES[metric].target
    for kind in (follows, AT_ONCE):
        tuned = {tuned_s: point for (of, tuned_s, how), point in POINTS.items() if (of, how) == (target, kind)}
        enough = [tuned_s for tuned_s in tuned if tuned_s >= lead_s]
        if enough:
            return OperatingPoint.of(tuned[min(enough)])
    return OperatingPoint.of(tuned[max(tuned)])


def replaced(point: OperatingPoint, numbers: Mapping[str, float]) -> OperatingPoint:
    """A point with other numbers, by name. Raises ``model.request``."""
    known = asdict(point)
    unknown = sorted(set(numbers) - set(known))
    if unknown:
        raise _bad(f"The operating point has no number {', '.join(unknown)}.")
    try:
        return OperatingPoint.of({**known, **{name: float(value) for name, value in numbers.items()}})
    except (TypeError, ValueError):
        raise _bad("A value of the operating point is no number.") from None


def _bad(why: str) -> HeadroomError:
    return HeadroomError("model.request", why, advice="Correct the options.")
