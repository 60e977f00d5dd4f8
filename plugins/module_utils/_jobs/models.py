# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in the stores: written as artifacts, read with suspicion, listed with how they stand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .._core.clock import format_ms
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PERCENT, PPM_PER_PERCENT
from .._forecast import recurrent
from .._forecast.conformal import WIDEST
from .._forecast.features import VERSION, names
from .._forecast.model_life import Wanted, refuse, speakers
from .._forecast.outcome_model import OBJECTIVES, OutcomeModel
from .._forecast.quantile_engine import Quantiles
from .._forecast.quantile_features import VERSION as QUANTILE_VERSION
from .._forecast.quantile_features import Clock
from .._forecast.quantile_features import names as quantile_names
from .._forecast.quantile_model import Model as QuantileModel
from .._forecast.recurrent import Network
from .._forecast.tree_text import check_trees
from .._records.model import MOST_TREES_BYTES, OUTCOME, QUANTILE, Model, Version, read_model
from .._records.series import DAY_S
from .._records.snapshot import Snapshot
from .._store import models
from .context import Result
from .sizer import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .._store.artifacts import ArtifactStore
    from .context import Context

T = TypeVar("T")

STALE_DAYS = 35  # five weekly trainings in a row were missed
LONGEST_S = STALE_DAYS * DAY_S


def wrong_share(percent: int) -> tuple[bool, str]:
    """Whether a canary cannot have this share of the VMs, and why."""
    return not 1 <= percent <= PERCENT, f"The share of {percent} % is not between 1 and {PERCENT}."


@dataclass(frozen=True)
class Loaded:
    """A model ready to use."""

    header: Model
    outcomes: OutcomeModel
    point: OperatingPoint


def libraries() -> dict[str, str]:
    """What trains and asks models of trees here: name -> version."""
    with needs("lightgbm"):
        import lightgbm
    return {"lightgbm": str(lightgbm.__version__), **numpy_here()}


def numpy_here() -> dict[str, str]:
    """What asks a network here: nothing else is needed, whatever trained it."""
    with needs("numpy"):
        import numpy as np
    return {"numpy": str(np.__version__)}


def wanted_here(model: Model, *, longest_s: int = LONGEST_S) -> Wanted:
    """The use that a model was made for, with the features and libraries of this release and place."""
    with_what = {**model.libraries, **numpy_here()} if _is_network(model) else libraries()
    if _is_network(model):
        features, version, outcomes = recurrent.names(Clock(model.interval_s), _steps(model)), recurrent.VERSION, 1
    elif model.purpose == QUANTILE:
        features, version, outcomes = quantile_names(Clock(model.interval_s)), QUANTILE_VERSION, len(_levels(model))
    else:
        features, version, outcomes = names(), VERSION, len(OBJECTIVES)
    return Wanted(
        purpose=model.purpose,
        metric=model.metric,
        target=model.target,
        interval_s=model.interval_s,
        lead_s=model.lead_s,
        every_s=model.every_s,
        features=features,
        feature_version=version,
        outcomes=outcomes,
        libraries=with_what,
        longest_s=longest_s,
    )


def load(
    artifacts: ArtifactStore,
    digest: str,
    *,
    now: datetime,
    wanted: Optional[Wanted] = None,
    longest_s: int = LONGEST_S,
) -> Loaded:
    """Read a model of outcomes for a use; without ``wanted`` for the one it was made for.

    Raises ``artifact.*``, ``json.*``, ``schema.*``, ``record.invalid``, ``model.damaged``, and as ``refuse``.
    """
    header = read_model(artifacts.get_bytes(digest))
    refuse(header, wanted or replace(wanted_here(header, longest_s=longest_s), purpose=OUTCOME), now=now)
    outcomes = OutcomeModel(
        step_s=header.interval_s,
        lead=header.lead_s // header.interval_s,
        features=header.features,
        trees=tuple(
            _text(artifacts, one, header, objective) for one, objective in zip(header.trees, OBJECTIVES.values())
        ),
        seed=header.seed,
        rows=header.rows,
        library=f"lightgbm {header.libraries['lightgbm']}",
    )
    return Loaded(header, outcomes, point_of(header))


@dataclass(frozen=True)
class LoadedQuantiles:
    """A model of quantiles ready to use."""

    header: Model
    quantiles: Quantiles
    prior: tuple[float, ...]  # at its levels, in units of a series' level; () of a model that has none


def load_quantiles(
    artifacts: ArtifactStore, digest: str, *, now: datetime, longest_s: int = LONGEST_S
) -> LoadedQuantiles:
    """Read a model of quantiles. Raises as ``load``."""
    header = read_model(artifacts.get_bytes(digest))
    refuse(header, replace(wanted_here(header, longest_s=longest_s), purpose=QUANTILE), now=now)
    steps, levels, finest = _steps(header), _levels(header), header.parameters.get("finest", "")
    if not _is_number(finest):
        raise _damaged("its parameters cannot be read")
    prior = _prior(header, levels)
    if _is_network(header):
        network = Network(
            interval_s=header.interval_s,
            steps=steps,
            levels=levels,
            finest=finest,
            weights=artifacts.get_bytes(header.trees[0]),
            seed=header.seed,
            rows=header.rows,
            series=header.vms,
            library=f"jax {header.libraries.get('jax', '')}",
            feature_version=header.feature_version,
        )
        recurrent.arrays(network)  # refuses what is no network
        return LoadedQuantiles(header, network, prior)
    trees = tuple(_text(artifacts, one, header, QUANTILE) for one in header.trees)
    if not all(trees):
        raise _damaged("a quantile has no trees")
    return LoadedQuantiles(
        header,
        QuantileModel(
            interval_s=header.interval_s,
            steps=steps,
            levels=levels,
            finest=finest,
            features=header.features,
            feature_version=header.feature_version,
            trees=trees,
            seed=header.seed,
            rows=header.rows,
            series=header.vms,
            library=f"lightgbm {header.libraries['lightgbm']}",
        ),
        prior,
    )


def _is_network(header: Model) -> bool:
    return header.purpose == QUANTILE and header.parameters.get("engine") == recurrent.NAME


def _steps(header: Model) -> int:
    """How far a model of quantiles looks. Raises ``model.damaged``."""
    steps = header.parameters.get("steps", "")
    if not (steps.isdecimal() and 0 < int(steps) <= Clock(header.interval_s).furthest):
        raise _damaged("its parameters cannot be read")
    return int(steps)


def _levels(header: Model) -> tuple[str, ...]:
    """The quantiles that a model foretells, decimal strings. Raises ``model.damaged``."""
    levels = tuple(header.parameters.get("levels", "").split(" "))
    if not all(_is_number(one) for one in levels):
        raise _damaged("its quantiles cannot be read")
    numbers = [float(one) for one in levels]
    if numbers != sorted(set(numbers)) or not 0 < numbers[0] <= numbers[-1] < 1:
        raise _damaged("its quantiles do not ascend between 0 and 1")
    return levels


def _prior(header: Model, levels: Sequence[str]) -> tuple[float, ...]:
    """Offsets of the fleet learnt from, at a model's quantiles; () of a model without. Raises ``model.damaged``."""
    if "prior" not in header.parameters:
        return ()
    texts = header.parameters["prior"].split(" ")
    if len(texts) != len(levels) or not all(_is_number(one) for one in texts):
        raise _damaged("the errors of its fleet cannot be read")
    offsets = tuple(float(one) for one in texts)
    if not -WIDEST <= offsets[0] <= offsets[-1] <= WIDEST or list(offsets) != sorted(offsets):
        raise _damaged(f"the errors of its fleet do not ascend between {-WIDEST:g} and {WIDEST:g}")
    return offsets


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def point_of(header: Model) -> OperatingPoint:
    """The operating point that a model is used at. Raises ``model.damaged``."""
    try:
        point = OperatingPoint.of({name: float(value) for name, value in header.point.items()})
    except (KeyError, ValueError) as error:
        raise _damaged(f"its operating point cannot be read ({error})") from error
    if not all(isfinite(getattr(point, one.name)) for one in fields(point)):
        raise _damaged("its operating point is not finite")
    return point


def decimals(numbers: dict[str, Any]) -> dict[str, str]:
    """Numbers as decimal strings, which digest-covered JSON can hold; text as it is."""
    return {name: format(one, ".12g") if isinstance(one, float) else str(one) for name, one in numbers.items()}


def loaded_speakers(
    unique_ids: Sequence[str], versions: Sequence[Version], read: Callable[[str], T], *, also: Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, T], dict[str, HeadroomError]]:
    """Which version of one key speaks for each VM, by unique_id; what was read of each, and why others were refused.

    Those ``also`` wanted are read even if they speak for nobody. Raises ``store.*``: that a model cannot be reached
    says nothing about it.
    """
    said = {unique_id: digest for unique_id, digest in zip(unique_ids, speakers(unique_ids, versions)) if digest}
    found: dict[str, T] = {}
    refused: dict[str, HeadroomError] = {}
    for digest in sorted({*said.values(), *also}):
        try:
            found[digest] = read(digest)
        except HeadroomError as error:
            if error.code.startswith("store."):
                raise
            refused[digest] = error
    return said, found, refused


def model_info(context: Context, *, snapshot: Optional[str] = None, stale_days: int = STALE_DAYS) -> Result:
    """List every version of every model, why it stands so, and for how many VMs of a snapshot it speaks."""
    ids = [vm.unique_id for vm in context.artifacts.get(Snapshot, snapshot).vms] if snapshot else None
    return Result(changed=False, values={"models": models_listed(context, ids, stale_days=stale_days)})


def models_listed(
    context: Context, unique_ids: Optional[Sequence[str]], *, stale_days: int = STALE_DAYS
) -> list[dict[str, Any]]:
    """Every version, and of these VMs for how many it speaks."""
    with context.database.transaction() as connection:
        versions = models.every(connection)
    listed = []
    for key in dict.fromkeys(version.key for version in versions):
        of_key = [version for version in versions if version.key == key]
        spoken = speakers(unique_ids or (), of_key)
        listed += [
            {
                **shown(version),
                **_header(context, version.model, longest_s=stale_days * DAY_S),
                **({} if unique_ids is None else {"vms_now": spoken.count(version.model)}),
            }
            for version in of_key
        ]
    return listed


def shown(version: Version) -> dict[str, Any]:
    """A version for a caller."""
    return {
        "model": version.model,
        "purpose": version.key.purpose,
        "metric": version.key.metric,
        "lead_s": version.key.lead_s,
        "status": version.status,
        "share_percent": f"{version.share_ppm / PPM_PER_PERCENT:g}",
        "since": format_ms(version.since_ms),
        "reason": version.reason,
    }


def _header(context: Context, digest: str, *, longest_s: int) -> dict[str, Any]:
    try:
        header = read_model(context.artifacts.get_bytes(digest))
    except HeadroomError as error:
        return {"refused": f"{error.message} [{error.code}]"}
    refused = ""
    try:
        refuse(header, wanted_here(header, longest_s=longest_s), now=context.now)
    except HeadroomError as error:
        refused = f"{error.message} [{error.code}]"
    return {
        "refused": refused,
        "start": header.start,
        "end": header.end,
        "vms": header.vms,
        "rows": header.rows,
        "seed": header.seed,
        "libraries": header.libraries,
    }


def _text(artifacts: ArtifactStore, digest: str, header: Model, objective: str) -> str:
    if not digest:
        return ""
    data = artifacts.get_bytes(digest)
    if len(data) > MOST_TREES_BYTES:
        raise _damaged(f"its trees have {len(data)} bytes, more than {MOST_TREES_BYTES}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _damaged("its trees are no text") from error
    check_trees(text, features=len(header.features), objective=objective)
    return text


def _damaged(why: str) -> HeadroomError:
    return HeadroomError("model.damaged", f"The model cannot be used: {why}.", advice="Train anew with model_train.")
