# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The joint demand of hosts and host sets, gathered while the fleet is forecast, a table of whole VMs at a time.

All sums are of integers: how the VMs are dealt out to tables changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .._core.units import MILLICORES_PER_VCPU
from .._records.hostset import HOST, HOST_SET, MILLI, Growth, Joint
from .._records.series import CPU_MILLICORES, DAY_S, MEMORY_USED_MIB
from .._records.vm import MEMORY_MIB, VCPUS
from .grid import Past, level_of
from .growth import MOST_DAYS, trends
from .hostset import fading, joint, multiples, spread, surprises
from .select import LEAST_ORIGINS, SPACING_S, Selection, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from .._records.snapshot import Snapshot
    from .request import Request
    from .trained import Spoken

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

# What a VM without a forecast is taken to use: all that it has. Metric -> resource, and its metric's units in one.
SIZES = {CPU_MILLICORES: (VCPUS, MILLICORES_PER_VCPU), MEMORY_USED_MIB: (MEMORY_MIB, 1)}
MIDDLE, UPPER = 0.5, 0.9
FINE = 1000  # parts of a metric's unit that sums are kept in
CHUNK = 1 << 22  # values of a past that are summed at once: 32 MB
HALF = 2  # at least one VM in two must be known of, for a past day or sum to count


@dataclass
class _Sums:
    """Of one metric, each [P, ...], in FINE parts; ``squares`` in whole units."""

    then: dict[str, Integers] = field(default_factory=dict)  # [P, O, S]: count, error, total, squares
    now: dict[str, Integers] = field(default_factory=dict)  # [P], [P, S, Q], [P, S]: count, apart, total, squares
    past: dict[str, Integers] = field(default_factory=dict)  # [P, T], [P, D]: demand, days
    silent: set[str] = field(default_factory=set)  # VMs without a forecast


class Together:
    """Who is where, and the sums of what they used, were forecast to use, and will use."""

    def __init__(self, snapshot: Snapshot, request: Request) -> None:
        with needs("numpy"):
            import numpy as np
        self._request = request
        self._vms = {vm.unique_id: vm for vm in snapshot.vms}
        set_of = {host.host_id: host.host_set for host in snapshot.hosts}
        keys = {(HOST, host_id) for host_id in set_of} | {(HOST_SET, name) for name in set_of.values()}
        self._places = sorted(keys)
        number = {key: place for place, key in enumerate(self._places)}
        self._of = {
            vm.unique_id: [
                number[key]
                for key in ((HOST, vm.host_id), (HOST_SET, set_of.get(vm.host_id, vm.host_set)))
                if key in number
            ]
            for vm in snapshot.vms
        }
        self._hosts = np.array(
            [place for place, (kind, _unused) in enumerate(self._places) if kind == HOST], dtype=np.int64
        )
        self._sets = np.array(
            [number[HOST_SET, set_of[name]] for kind, name in self._places if kind == HOST], dtype=np.int64
        )
        self._levels = np.array([float(one) for one in request.quantiles])
        self._middle, self._upper = (int(np.argmin(np.abs(self._levels - one))) for one in (MIDDLE, UPPER))
        self._sums = {metric: _Sums(silent=set(self._vms)) for metric in request.metrics if metric in SIZES}

    def learn(
        self,
        metric: str,
        known: Past,
        trials: Sequence[Trial],
        chosen: Selection,
        spoken: Optional[Spoken] = None,
    ) -> None:
        """Take in what these VMs used, and how their forecasts did at past origins, as they would be issued now.

        Where a trained model speaks that has not been heard at enough of them yet, those of the engine chosen count.
        """
        if metric not in self._sums:
            return
        with needs("numpy"):
            import numpy as np
        sums, (rows, at) = self._sums[metric], self._rows(known.unique_ids)
        error = np.full(trials[0].errors.shape, np.nan, dtype=np.float32)
        for place, trial in enumerate(trials):
            np.copyto(error, trial.errors, where=(chosen.engine == place)[:, None, None, :])
        np.subtract(error, chosen.offset[:, None, None, :], out=error)
        if spoken is not None:
            heard = np.flatnonzero(spoken.origins >= LEAST_ORIGINS)
            error[heard] = np.nan
            error[heard, : spoken.errors.shape[1]] = spoken.errors[heard]
        scored = ~np.isnan(error).any(axis=3)
        middle = np.where(scored, error[..., self._middle], 0.0)
        reach = np.where(scored, np.maximum(middle - error[..., self._upper], 0.0), 0.0)
        told: dict[str, Integers] = {
            "count": np.asarray(scored, dtype=np.int64),
            "error": _fine(middle),
            **_reach(reach),
        }
        for name, of_vms in told.items():
            self._add(sums.then, name, of_vms[rows], at)
        self._remember(sums, known, rows, at)

    def say(self, metric: str, unique_ids: Sequence[str], values: Doubles) -> None:
        """Take in what is issued for these VMs [V, S, Q]."""
        if metric not in self._sums:
            return
        with needs("numpy"):
            import numpy as np
        sums, (rows, at) = self._sums[metric], self._rows(unique_ids)
        sums.silent -= set(unique_ids)
        reach = np.maximum(values[..., self._upper] - values[..., self._middle], 0.0)
        told = {"apart": _fine(values), **_reach(reach)}
        for name, of_vms in told.items():
            self._add(sums.now, name, of_vms[rows], at)

    def demands(self) -> tuple[Joint, ...]:
        """The joint demand of every place and metric, sorted by place."""
        found = [one for metric in sorted(self._sums) for one in self._demands(metric)]
        return tuple(sorted(found, key=lambda one: (one.kind, one.place, one.metric)))

    def _demands(self, metric: str) -> list[Joint]:
        with needs("numpy"):
            import numpy as np
        sums, (resource, unit) = self._whole(self._sums[metric]), SIZES[metric]
        vms, assumed = np.zeros(len(self._places), dtype=np.int64), np.zeros(len(self._places), dtype=np.int64)
        for unique_id, places in self._of.items():
            vms[places] += 1
            if unique_id in sums.silent:
                assumed[places] += getattr(self._vms[unique_id], resource) * unit
        if sums.now:
            apart = sums.now["apart"] / FINE
            now = spread(sums.now["total"] / FINE, sums.now["squares"].astype(np.float64))
            multiple, points = self._multiples(sums)
            together = joint(apart[..., self._middle], now, multiple)
            together = np.where(np.isnan(together), apart, together)
        else:
            apart = together = np.zeros((len(self._places), 1, len(self._levels)))
            points = np.zeros(len(self._places), dtype=np.int64)
        highest, single = (np.ceil(of.max(axis=1)).astype(np.int64) + assumed[:, None] for of in (together, apart))
        peaks = self._peaks(sums, vms)
        growth = _growth(peaks, assumed)
        days = np.where(np.isnan(peaks), -1, np.ceil(peaks) + assumed[:, None]).astype(np.int64)
        return [
            Joint(
                kind=kind,
                place=name,
                metric=metric,
                vms=int(vms[place]),
                assumed=int(assumed[place]),
                quantiles=tuple(highest[place].tolist()),
                apart=tuple(single[place].tolist()),
                points=int(points[place]),
                peaks=tuple(days[place].tolist()),
                growth=growth[place],
            )
            for place, (kind, name) in enumerate(self._places)
        ]

    def _multiples(self, sums: _Sums) -> tuple[Doubles, Integers]:
        """What is learnt from past sums [P, Q], and from how many points [P]."""
        with needs("numpy"):
            import numpy as np
        places, origins, steps = sums.then["count"].shape
        most = sums.then["count"].max(axis=(1, 2), keepdims=True, initial=0)
        then = spread(sums.then["total"] / FINE, sums.then["squares"].astype(np.float64))
        surprise = surprises(sums.then["error"] / FINE, then)
        surprise[HALF * sums.then["count"] < most] = np.nan
        apart = max(SPACING_S, self._request.horizon_s)  # from one origin to the one before
        weight = np.repeat(fading(apart * np.arange(origins, dtype=np.float64)), steps)
        surprise = surprise.reshape(places, origins * steps)
        multiple = multiples(surprise, weight, self._levels)
        points = np.count_nonzero(~np.isnan(surprise), axis=1)
        return multiple, points if not np.isnan(multiple).any() else np.zeros_like(points)

    def _remember(self, sums: _Sums, known: Past, rows: Integers, at: Integers) -> None:
        """Add up the past, a gap filled with the VM's own mean: a VM that came later is not growth of the others."""
        with needs("numpy"):
            import numpy as np
        per_day = max(DAY_S // self._request.interval_s, 1)
        days = min(known.values.shape[1] // per_day, MOST_DAYS)
        if not days:
            return
        values = known.values[:, known.values.shape[1] - days * per_day :]
        level = level_of(values)
        chunk = max(CHUNK // values.shape[1], 1)
        for start in range(0, len(rows), chunk):
            part = values[rows[start : start + chunk]]
            gap = np.isnan(part)
            filled = np.where(gap, level[rows[start : start + chunk], None], part)
            told = HALF * np.count_nonzero(~gap.reshape(len(part), days, per_day), axis=2) >= per_day
            self._add(sums.past, "demand", _fine(filled), at[start : start + chunk])
            self._add(sums.past, "days", told.astype(np.int64), at[start : start + chunk])

    def _peaks(self, sums: _Sums, vms: Integers) -> Doubles:
        """Highest joint demand of each past day [P, D]; NaN where too few VMs are known of."""
        with needs("numpy"):
            import numpy as np
        if not sums.past:
            return np.empty((len(self._places), 0))
        told = sums.past["days"]
        demand = sums.past["demand"].reshape(*told.shape, -1).max(axis=2) / FINE
        return np.where((HALF * told >= vms[:, None]) & (told > 0), demand, np.nan)

    def _rows(self, unique_ids: Sequence[str]) -> tuple[Integers, Integers]:
        """Pairs of a row and its first place, those of one place together; ``_whole`` adds hosts to their sets."""
        with needs("numpy"):
            import numpy as np
        pairs = [(self._of[one][0], row) for row, one in enumerate(unique_ids) if self._of.get(one)]
        at, rows = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
        return rows, at

    def _whole(self, sums: _Sums) -> _Sums:
        """The same with each host's sums added to those of its set."""
        with needs("numpy"):
            import numpy as np

        def added(of: dict[str, Integers]) -> dict[str, Integers]:
            whole = {name: total.copy() for name, total in of.items()}
            for name, total in whole.items():
                np.add.at(total, self._sets, of[name][self._hosts])
            return whole

        return _Sums(added(sums.then), added(sums.now), added(sums.past), sums.silent)

    def _add(self, sums: dict[str, Integers], name: str, values: Integers, at: Integers) -> None:
        """Add values [R, ...] to the sums of their places [R], which ascend."""
        with needs("numpy"):
            import numpy as np
        total = sums.setdefault(name, np.zeros((len(self._places), *values.shape[1:]), dtype=np.int64))
        if len(at):
            first = np.flatnonzero(np.diff(at, prepend=-1))
            total[at[first]] += np.add.reduceat(values, first, axis=0)


def _fine(values: npt.NDArray[np.floating]) -> Integers:
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.rint(values * FINE), dtype=np.int64)


def _reach(reach: Doubles) -> dict[str, Integers]:
    """How far VMs may rise above their medians, for the sum's spread."""
    with needs("numpy"):
        import numpy as np
    return {"total": _fine(reach), "squares": np.asarray(np.rint(reach**2), dtype=np.int64)}


def _growth(peaks: Doubles, assumed: Integers) -> list[Optional[Growth]]:
    with needs("numpy"):
        import numpy as np
    found = trends(peaks)
    slopes = np.rint(np.nan_to_num(found.slopes) * MILLI).astype(np.int64).tolist()
    levels = (np.ceil(np.nan_to_num(found.levels)).astype(np.int64) + assumed[:, None]).tolist()
    unknown = np.isnan(found.slopes[:, 1]).tolist()
    return [
        None
        if unknown[place]
        else Growth(int(found.days[place]), tuple(slopes[place]), tuple(levels[place]), bool(found.compound[place]))
        for place in range(len(peaks))
    ]
