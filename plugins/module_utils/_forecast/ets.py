# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exponential smoothing of one series after the other, by statsmodels: an engine to compare the fast ones with.

ETS(A, Ad, N) in the words of Hyndman, Koehler, Ord and Snyder (2008): additive errors, a damped trend, no season. A
season of a day would need many days to fit and shows little in the demand of VMs; the seasonal engines look for it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

WINDOW = 288  # values smoothed, a day of 300 s: a longer past costs more and weighs next to nothing
LEAST_VALUES = 24
ITERATIONS = 100  # of the optimiser: one fit takes 15 to 30 ms


@dataclass(frozen=True)
class Ets:
    """Level and damped trend, with the prediction variance of the model.

    The smoothing parameters are fitted once, before the earliest end; from each end the series is smoothed with them.
    A series that is constant, too short, or cannot be fitted is NaN.
    """

    name: str = "ets"

    # ARG002: an engine is given more than each one needs.
    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:  # noqa: ARG002
        """See Engine."""
        with needs("numpy", "pandas", "statsmodels"):
            import numpy as np
            import pandas as pd  # noqa: F401 - statsmodels predicts from its series
            import statsmodels.tsa.exponential_smoothing.ets  # noqa: F401 - sets filters of warnings when imported
        value = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
        deviates = np.array([NormalDist().inv_cdf(level) for level in levels])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the optimiser; what comes of it is judged by its score
            for answer, series in zip(value, past):
                parameters = _fitted(_known(series[: min(ends)]))
                if parameters is not None:
                    for place, end in enumerate(ends):
                        answer[place] = _predicted(_known(series[:end]), parameters, steps, deviates)
        return value


def _known(series: Floats) -> Doubles:
    """The last values, gaps filled with the value before them; what lies before the first known one is left out."""
    with needs("numpy"):
        import numpy as np
    recent = series[-WINDOW:].astype(np.float64)
    known = ~np.isnan(recent)
    last = np.maximum.accumulate(np.where(known, np.arange(len(recent)), -1))
    return np.asarray(recent[last[last >= 0]], dtype=np.float64)


def _model(values: Doubles) -> Any:
    with needs("pandas", "statsmodels"):
        import pandas as pd
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel
    return ETSModel(pd.Series(values), error="add", trend="add", damped_trend=True, initialization_method="heuristic")


def _fitted(values: Doubles) -> Optional[Any]:
    """The smoothing parameters; None where nothing can be fitted."""
    with needs("numpy"):
        import numpy as np
    if len(values) < LEAST_VALUES or np.ptp(values) == 0:
        return None
    try:
        parameters = _model(values / np.abs(values).mean()).fit(disp=False, maxiter=ITERATIONS).params
    except (ArithmeticError, ValueError):  # numpy's LinAlgError is a ValueError
        return None
    return parameters if np.isfinite(parameters).all() else None


def _predicted(values: Doubles, parameters: Any, steps: int, deviates: Doubles) -> Doubles:
    """Quantiles [steps, Q]; NaN where the model has none."""
    with needs("numpy"):
        import numpy as np
    nothing = np.full((steps, len(deviates)), np.nan)
    scale = np.abs(values).mean() if len(values) >= LEAST_VALUES else 0.0
    if not scale:
        return nothing
    try:
        smoothed = _model(values / scale).smooth(parameters)
        found = smoothed.get_prediction(start=len(values), end=len(values) + steps - 1)
    except (ArithmeticError, ValueError):
        return nothing
    mean, spread = np.asarray(found.predicted_mean), np.sqrt(np.asarray(found.forecast_variance))
    return np.asarray(scale * (mean[:, None] + spread[:, None] * deviates[None, :]), dtype=np.float64)
