# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained model: what it foretells, what it was learnt from and with, and how it stands in the fleet.

The record holds no time of making and no place of the data: the same rows, seed and libraries give the same digest.
Trees, or a network's weights, are objects of their own, named by digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._core.canonical import parse_json
from .._core.errors import HeadroomError
from .codec import decode_artifact
from .series import CPU_MILLICORES, DAY_S, MEMORY_USED_MIB

OUTCOME = "outcome"  # what holding a candidate size comes to
QUANTILE = "quantile"  # quantiles of demand, step by step
PURPOSES = (OUTCOME, QUANTILE)
METRICS = (CPU_MILLICORES, MEMORY_USED_MIB)

# How a version stands. A candidate has been stored and waits, a canary speaks for a share of the VMs, the current one
# for the others. Whoever was superseded is retired; whoever was found worse is rolled back, and never speaks again.
CANDIDATE, CANARY, CURRENT, RETIRED, ROLLED_BACK = "candidate", "canary", "current", "retired", "rolled_back"

# The bytes of a model may come from elsewhere. A real record has a few kB, a real text of trees about half a MB.
MOST_BYTES = 2**20
MOST_TREES_BYTES = 2**24
MOST_TREES = 64
MOST_NUMBERS = 4096  # features, parameters, days


@dataclass(frozen=True)
class Day:
    """How a model did on one day of VMs that it was not trained on, as means over the VMs.

    Of outcomes: sizers with it. Of quantiles: its forecasts.
    """

    held_ppm: int  # share of the time at the cap; or above the highest quantile
    cost_ppm: int  # in shares of capacity, by the prices of the operating point; or pinball loss, in shares of naive's


@dataclass(frozen=True)
class Model:
    """The header; ``trees`` are digests of LightGBM's own text, "" of an outcome that was never seen.

    Of a recurrent network ``trees`` is the digest of its weights, and the parameter ``engine`` says so.
    """

    KIND: ClassVar[str] = "model"
    VERSION: ClassVar[int] = 1

    purpose: str
    metric: str
    target: str  # of _records.forecast.TARGETS
    interval_s: int
    lead_s: int  # 0 of quantiles, which are foretold from the next interval on
    every_s: int  # from one decision to the next; of quantiles an interval
    start: str  # of the telemetry learnt from: start <= ds < end
    end: str
    rows_digest: str  # of that telemetry: _store/dense.py defines it
    vms: int
    rows: int  # examples
    features: tuple[str, ...]
    feature_version: int
    libraries: dict[str, str]  # name -> version
    seed: int
    parameters: dict[str, str]  # of the trees, and of quantiles what they are used with; numbers as decimal strings
    point: dict[str, str]  # the operating point it is to be used at; none of quantiles
    trees: tuple[str, ...]
    expected: tuple[Day, ...]  # oldest first

    @property
    def use(self) -> tuple[int, str, int]:
        """What it is asked about, and when: intervals of which length, of what in them, and how often."""
        return self.interval_s, self.target, self.every_s


@dataclass(frozen=True)
class Key:
    """What a model is for. Of each key one version at most is the canary, and one the current."""

    purpose: str
    metric: str
    lead_s: int


@dataclass(frozen=True)
class Version:
    """A model as it stands in the fleet."""

    key: Key
    model: str  # digest
    status: str
    share_ppm: int  # of the VMs that it speaks for as the canary
    made_ms: int
    since_ms: int  # when it came to its status
    reason: str = ""


def read_model(data: bytes) -> Model:
    """Read a model's record. Raises ``json.*``, ``schema.*``, and ``record.invalid`` for what makes no sense."""
    model = decode_artifact(Model, parse_json(data, max_bytes=MOST_BYTES))
    for wrong, why in _mistakes(model):
        if wrong:
            raise HeadroomError("record.invalid", f"This model {why}.", advice="Train it again with model_train.")
    return model


def _mistakes(model: Model) -> tuple[tuple[bool, str], ...]:
    crowded = [
        name
        for name, values in (
            ("features", model.features),
            ("parameters", model.parameters),
            ("libraries", model.libraries),
            ("numbers in its operating point", model.point),
            ("days", model.expected),
        )
        if len(values) > MOST_NUMBERS
    ]
    interval_s = max(model.interval_s, 1)
    return (
        (model.purpose not in PURPOSES or model.metric not in METRICS, "is for nothing that this release knows"),
        (model.interval_s < 1 or DAY_S % interval_s != 0, "has an interval that does not divide the day"),
        (model.lead_s < 0 or model.lead_s % interval_s != 0, "has a lead that is no multiple of its interval"),
        (model.every_s < 1 or model.every_s % interval_s != 0, "is asked at no multiple of its interval"),
        (not 0 < len(model.trees) <= MOST_TREES, f"has {len(model.trees)} texts of trees"),
        (bool(crowded), f"has more than {MOST_NUMBERS} {', '.join(crowded)}"),
        (model.vms < 1 or model.rows < 1, "was learnt from nothing"),
        (any(min(day.held_ppm, day.cost_ppm) < 0 for day in model.expected), "expects less than nothing"),
    )
