# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trained models of quantiles that speak for a fleet's VMs now, and why those do not that may not."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Optional

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._forecast.model_life import of_status
from .._forecast.quantile_engine import FleetModels, ModelEngine, refusal
from .._records.model import CURRENT, METRICS, QUANTILE, Key
from .._store import models
from .models import load_quantiles, loaded_speakers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._forecast.request import Request
    from .context import Context


def speaking(
    context: Context, request: Request, unique_ids: Sequence[str]
) -> tuple[Optional[FleetModels], tuple[str, ...]]:
    """The models for a request, None where there are none, and warnings. A model that is refused is no failure.

    Raises ``store.*``.
    """
    with context.database.transaction() as connection:
        versions = {
            metric: models.of(connection, Key(QUANTILE, metric, 0)) for metric in request.metrics if metric in METRICS
        }
    engines: dict[str, ModelEngine] = {}
    of: dict[str, dict[str, str]] = {}
    in_use: dict[str, str] = {}
    warnings: list[str] = []
    for metric, known in versions.items():
        current = of_status(known, CURRENT)
        said, found, refused = loaded_speakers(
            unique_ids, known, partial(_engine, context, request, metric), also=[current.model] if current else []
        )
        engines.update(found)
        warnings += [
            f"The model of quantiles {digest} for {metric} does not speak. {why}" for digest, why in refused.items()
        ]
        of[metric] = {unique_id: digest for unique_id, digest in said.items() if digest in engines}
        if current and current.model in found:
            in_use[metric] = current.model
    return (FleetModels(engines, of, in_use) if engines else None), tuple(warnings)


def _engine(context: Context, request: Request, metric: str, digest: str) -> ModelEngine:
    """Raises as ``load_quantiles``, and ``model.foreign`` for a model that is for something else."""
    loaded = load_quantiles(context.artifacts, digest, now=context.now)
    header, steps = loaded.header, (request.lead_s + request.horizon_s) // request.interval_s
    levels = [float(quantile) for quantile in request.quantiles]
    why = refusal(loaded.quantiles, interval_s=request.interval_s, steps=steps, levels=levels)
    unseen = (request.cutoff - parse_utc(header.end)) // timedelta(seconds=request.interval_s)
    if (header.metric, header.target) != (metric, request.target):
        why = f"it is for {header.target} {header.metric}"
    if unseen < 0:
        why = f"it knows what came until {header.end}"
    if why:
        raise HeadroomError(
            "model.foreign",
            f"The model cannot say what is asked for: {why}.",
            advice="Train one with model_train for the quantiles, the target and the interval of the forecast.",
        )
    return ModelEngine(loaded.quantiles, unseen=unseen, prior=loaded.prior)
