# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of quantiles on generated telemetry: trained, on trial, speaking in forecasts, rolled back, refused."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import quantile_features, recurrent_training
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import pinball
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import models as model_jobs
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.models import load, load_quantiles
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.train import Course
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Choice, Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import Key
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes

from .test_models import NAMES, NOW, PAST_DAYS, PER_DAY, VMS, Site, demand, vm

pytestmark = pytest.mark.arithmetic

KEY = Key("quantile", CPU_MILLICORES, 0)
LEVELS = ("0.5", "0.9")
COURSE = Course(purpose="quantile", quantiles=LEVELS, share_percent=100)
LATER_DAYS = 4


class QuantileSite(Site):
    """Stores whose models are of quantiles."""

    key = KEY

    def forecast(self, days: float = 0, **options: Any) -> tuple[Result, Forecast]:
        asked = {
            "snapshot": self.snapshot(), "series": None, "horizon_s": 3600, "interval_s": 300, "lead_s": 0,
            "history_s": 9 * 86400, "series_interval_s": 300, "quantiles": LEVELS, "target": "maximum", **options,
        }  # fmt: skip
        context = self.context(days)
        done = forecast_demand(context, **asked)
        return done, context.artifacts.get(Forecast, done.values["forecast"])


def of_cpu(forecast: Forecast) -> list[Choice]:
    return [choice for choice in forecast.choices if choice.metric == CPU_MILLICORES]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Ten days to learn from and some that follow; a model on trial for all VMs."""
    site = QuantileSite(tmp_path_factory.mktemp("quantiles"))
    site.merge(demand(PAST_DAYS + LATER_DAYS, seed=1), at=-PAST_DAYS)
    return site.root, site.train(course=COURSE)


@pytest.fixture
def site(trained: tuple[Path, Result], tmp_path: Path) -> QuantileSite:
    """The same for one test alone."""
    return QuantileSite(Path(shutil.copytree(trained[0], tmp_path / "site")))


def name_of(trained: tuple[Path, Result]) -> str:
    return str(trained[1].values["trained"][CPU_MILLICORES]["model"])


def test_a_model_says_what_it_foretells_and_from_what(trained: tuple[Path, Result], site: QuantileSite) -> None:
    told = trained[1].values["trained"][CPU_MILLICORES]
    assert (told["status"], told["vms"], told["rejected"]) == ("canary", VMS, {})
    loaded = load_quantiles(site.context().artifacts, told["model"], now=NOW)
    assert loaded.quantiles.levels == LEVELS
    assert (loaded.quantiles.steps, loaded.quantiles.interval_s) == (12, 300)
    assert loaded.header.features == quantile_features.names(quantile_features.Clock(300))
    assert (loaded.header.lead_s, loaded.header.point) == (0, {})
    assert loaded.quantiles.rows == loaded.header.rows == told["rows"] > 5000
    assert " ".join(format(one, ".9g") for one in loaded.prior) == loaded.header.parameters["prior"]
    assert -0.5 < loaded.prior[0] < loaded.prior[1] < 3  # of a level that swings by more than half and bursts


def test_the_same_past_gives_the_same_model(trained: tuple[Path, Result], tmp_path: Path) -> None:
    alone = QuantileSite(tmp_path)
    alone.merge(demand(PAST_DAYS + LATER_DAYS, seed=1)[:, : PAST_DAYS * PER_DAY], at=-PAST_DAYS)
    told = alone.train(course=COURSE).values["trained"][CPU_MILLICORES]
    ours = load_quantiles(alone.context().artifacts, told["model"], now=NOW).header
    theirs = load_quantiles(Site(trained[0]).context().artifacts, name_of(trained), now=NOW).header
    assert replace(ours, rows_digest=theirs.rows_digest) == theirs
    again = alone.train(course=replace(COURSE, due_days=0)).values["trained"][CPU_MILLICORES]
    assert again["model"] == told["model"]


def test_it_speaks_in_forecasts_and_says_so(trained: tuple[Path, Result], site: QuantileSite) -> None:
    done, forecast = site.forecast(0)
    assert done.values["engines"]["quantile_trees"] == VMS
    assert forecast.models == (name_of(trained),)
    assert {"quantile_trees", "mix"} < set(forecast.engines)
    assert {choice.engine for choice in of_cpu(forecast)} == {"quantile_trees"}
    assert f"model {name_of(trained)}; no origin yet" in of_cpu(forecast)[0].reason
    later = site.forecast(LATER_DAYS)[1]
    assert any("over 12 origins" in choice.reason for choice in of_cpu(later))
    again = site.forecast(LATER_DAYS)
    assert again[1] == later


def test_without_it_the_engines_speak_as_ever(site: QuantileSite) -> None:
    done, forecast = site.forecast(1, trained=False)
    assert "quantile_trees" not in done.values["engines"]
    assert forecast.models == ()


def test_it_betters_the_engines_that_need_no_training(site: QuantileSite) -> None:
    """On the first hour after its training, for all VMs together."""
    truth = demand(PAST_DAYS + LATER_DAYS, seed=1)[:, PAST_DAYS * PER_DAY :][:, :12]
    loss = {}
    for trained in (True, False):
        forecast = site.forecast(0, trained=trained)[1]
        table = table_from_bytes(site.context().artifacts.get_bytes(forecast.table))
        values = table["value"].to_numpy().reshape(VMS, 12, len(LEVELS))
        loss[trained] = pinball(truth, values, np.array([0.5, 0.9])).mean()
    assert loss[True] < loss[False]


def test_one_vms_bad_data_never_touches_anothers_forecast(site: QuantileSite) -> None:
    before = {choice.unique_id: choice for choice in of_cpu(site.forecast(1)[1])}
    rows = demand(1, seed=9)[:1] * 3
    site.merge(np.clip(rows, 0, None), at=0, names=["fake/u0"])
    after = {choice.unique_id: choice for choice in of_cpu(site.forecast(1)[1])}
    assert before["fake/u0"] != after["fake/u0"]
    assert {name: one for name, one in before.items() if name != "fake/u0"} == {
        name: one for name, one in after.items() if name != "fake/u0"
    }


@pytest.mark.parametrize(("in_use", "on_trial"), [(True, True), (False, True), (False, False)])
def test_wild_data_of_one_vm_moves_a_young_ones_forecast_only_where_no_model_is_in_use(
    trained: tuple[Path, Result], site: QuantileSite, in_use: bool, on_trial: bool
) -> None:
    current = with_a_current_one(trained, site) if in_use else ""
    known = tuple(sorted({name_of(trained), current} - {""})) if on_trial else ()  # the canary speaks for all
    site.merge(np.linspace(400, 500, 20)[None, :], at=1 - 20 / PER_DAY, names=["fake/young"])
    options = {"snapshot": site.snapshot([*NAMES, "fake/young"]), "trained": on_trial}

    def told() -> tuple[list[dict[str, Any]], list[Choice]]:
        forecast = site.forecast(1, **options)[1]
        assert forecast.models == known
        table = table_from_bytes(site.context().artifacts.get_bytes(forecast.table))
        assert "fake/young" in table["unique_id"].to_pylist()
        return table.to_pylist(), of_cpu(forecast)

    rows, choices = told()
    site.merge(np.random.default_rng(9).lognormal(6, 2, (1, 8 * PER_DAY)), at=-7, names=["fake/u0"])
    rows_now, choices_now = told()
    moved = {then["unique_id"] for then, now in zip(rows, rows_now, strict=True) if then != now}
    assert moved == ({"fake/u0"} if in_use else {"fake/u0", "fake/young"})
    (young,) = (one for one in choices_now if one.unique_id == "fake/young")
    assert ("errors of the fleet that the model" in young.reason) == in_use
    assert current in young.reason
    assert [one for one in choices if one.unique_id != "fake/u0"] == [
        one for one in choices_now if one.unique_id != "fake/u0"
    ]


def test_demand_held_back_by_a_limit_is_not_taken_for_all_there_was(site: QuantileSite) -> None:
    past = demand(PAST_DAYS + LATER_DAYS, seed=1)[:1]
    limit = int(np.quantile(past, 0.7))
    site.merge(np.minimum(past, limit), at=-PAST_DAYS, names=["fake/u0"])
    field = {"live.cpu_limit_millicores": limit, "config.cpu_limit_millicores": limit}
    vms = [replace(vm(name), fields=field if name == "fake/u0" else {}) for name in NAMES]
    limited = site.context().artifacts.put(Snapshot(format_utc(NOW), ("fake",), (), tuple(vms)))
    values = {}
    for name, snapshot in (("free", site.snapshot()), ("limited", limited)):
        forecast = site.forecast(LATER_DAYS, snapshot=snapshot)[1]
        table = table_from_bytes(site.context().artifacts.get_bytes(forecast.table))
        values[name] = table["value"].to_numpy().reshape(VMS, 12, len(LEVELS))
    assert (values["limited"][0, :, 1] > values["free"][0, :, 1]).all()
    np.testing.assert_array_equal(values["limited"][1:], values["free"][1:])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"quantiles": ("0.5", "0.99")}, "it knows the quantiles 0.5, 0.9"),
        ({"target": "mean"}, "it is for maximum"),
        ({"lead_s": 3600}, "12 steps ahead"),
        ({"interval_s": 900}, "300 s"),
    ],
)
def test_a_model_that_cannot_say_what_is_asked_is_told_of_and_the_others_speak(
    site: QuantileSite, options: dict[str, Any], why: str
) -> None:
    done, forecast = site.forecast(0, **options)
    assert any(why in warning for warning in done.warnings)
    assert forecast.models == ()
    assert all(choice.engine for choice in of_cpu(forecast))


def test_a_model_never_speaks_of_what_it_was_trained_on(site: QuantileSite) -> None:
    done, forecast = site.forecast(-1)
    assert any("it knows what came until 2026-03-02" in warning for warning in done.warnings)
    assert forecast.models == ()


def test_a_stale_model_is_told_of_and_the_others_speak(site: QuantileSite) -> None:
    done, _forecast = site.forecast(36)
    assert any("[model.stale]" in warning for warning in done.warnings)


def with_a_current_one(trained: tuple[Path, Result], site: QuantileSite) -> str:
    """Register one that says the same, under a name of its own."""
    header = load_quantiles(site.context().artifacts, name_of(trained), now=NOW).header
    return site.put(replace(header, seed=7), status="current", days=0)


def test_a_first_model_that_is_worse_than_none_is_rolled_back(trained: tuple[Path, Result], site: QuantileSite) -> None:
    """Two days of twenty VMs teach less than is known without a model."""
    (told,) = site.review(3).values["reviewed"]
    assert site.versions() == {name_of(trained): "rolled_back"}
    assert (told["purpose"], told["verdict"]["step"]) == ("quantile", "roll_back")
    assert "worse over 3 days of 22 VMs" in told["verdict"]["reason"]
    assert site.forecast(3)[1].models == ()


def test_a_canary_that_does_well_takes_over(trained: tuple[Path, Result], site: QuantileSite) -> None:
    other = with_a_current_one(trained, site)
    (told,) = site.review(3).values["reviewed"]
    assert site.versions() == {name_of(trained): "current", other: "retired"}
    assert (told["verdict"]["step"], told["drift"]["days"]) == ("promote", 3)


def test_a_model_that_foretells_too_little_is_rolled_back_and_the_current_one_speaks(
    trained: tuple[Path, Result], site: QuantileSite
) -> None:
    other = with_a_current_one(trained, site)
    site.review(3)
    header = load_quantiles(site.context().artifacts, name_of(trained), now=NOW).header
    low = replace(header, trees=(header.trees[0], header.trees[0]), seed=9)  # the median for both
    bad = site.put(low, status="candidate", days=3)
    assert site.review(3).changed
    assert site.versions() == {name_of(trained): "current", other: "retired", bad: "canary"}
    done = site.review(4)
    assert site.versions() == {name_of(trained): "current", other: "retired", bad: "rolled_back"}
    assert "time above the highest quantile" in done.values["reviewed"][0]["verdict"]["reason"]
    assert site.forecast(4)[1].models == (name_of(trained),)


def test_a_model_that_is_not_what_was_trained_is_refused(trained: tuple[Path, Result], site: QuantileSite) -> None:
    artifacts = site.context().artifacts
    header = load_quantiles(artifacts, name_of(trained), now=NOW).header
    text = artifacts.get_bytes(header.trees[0])
    for change, code in (
        ({"trees": (artifacts.put_bytes(text.replace(b"objective=quantile", b"objective=binary")), header.trees[1])},
         "damaged"),
        ({"trees": ("", header.trees[1])}, "damaged"),
        ({"trees": header.trees[:1]}, "foreign"),
        ({"parameters": {**header.parameters, "levels": "0.9 0.5"}}, "damaged"),
        ({"parameters": {**header.parameters, "levels": "0.5 nan"}}, "damaged"),
        ({"parameters": {**header.parameters, "steps": "13"}}, "damaged"),
        ({"parameters": {**header.parameters, "finest": ""}}, "damaged"),
        *(({"parameters": {**header.parameters, "prior": prior}}, "damaged")
          for prior in ("", "0.1", "0.1 0.2 0.3", "0.1 x", "0.1 nan", "-inf 0.1", "0.2 0.1", "0.1 1000.1")),
        ({"features": header.features[:-1]}, "foreign"),
        ({"libraries": {}}, "library"),
    ):  # fmt: skip
        name = artifacts.put(replace(header, **change))
        with pytest.raises(HeadroomError) as caught:
            load_quantiles(artifacts, name, now=NOW)
        assert caught.value.code == f"model.{code}", change
    with pytest.raises(HeadroomError) as caught:  # nor for another purpose
        load(artifacts, name_of(trained), now=NOW)
    assert caught.value.code == "model.foreign"


def test_a_canary_of_other_features_is_rolled_back(
    trained: tuple[Path, Result], site: QuantileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_jobs, "QUANTILE_VERSION", quantile_features.VERSION + 1)
    (told,) = site.review(0.5).values["reviewed"]
    assert "[model.foreign]" in told["verdict"]["reason"]
    assert site.versions() == {name_of(trained): "rolled_back"}


def test_it_is_trained_anew_when_due_and_a_young_fleet_is_told(site: QuantileSite, tmp_path: Path) -> None:
    again = site.train(6.9, course=COURSE)
    assert "none is due" in again.values["trained"][CPU_MILLICORES]["reason"]
    young = QuantileSite(tmp_path / "young")
    young.merge(demand(5, seed=1), at=-5)
    done = young.train(course=COURSE)
    assert (done.changed, done.values["trained"][CPU_MILLICORES]["model"]) == (False, "")
    assert "No model was trained" in done.warnings[0]


@pytest.mark.parametrize(
    "course",
    [replace(COURSE, purpose="weather"), replace(COURSE, quantiles=("0.9", "0.5")), replace(COURSE, minute=60)],
)
def test_bad_options_are_one_clear_error(site: QuantileSite, course: Course) -> None:
    with pytest.raises(HeadroomError) as caught:
        site.train(course=course)
    assert caught.value.code == "model.request"


def test_a_rehearsal_of_a_forecast_uses_the_model_too(site: QuantileSite) -> None:
    context = site.context(0, check=True, run_id="")
    done = forecast_demand(
        context, snapshot=site.snapshot(), series=None, horizon_s=3600, interval_s=300, lead_s=0, history_s=9 * 86400,
        series_interval_s=300, quantiles=LEVELS, target="maximum",
    )  # fmt: skip
    context.close()
    assert done.values["engines"]["quantile_trees"] == VMS


@pytest.fixture(scope="module")
def network(trained: tuple[Path, Result], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The same past, and a network on trial in the place of the trees."""
    site = QuantileSite(Path(shutil.copytree(trained[0], tmp_path_factory.mktemp("network") / "site")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_training, "MOST_ROUNDS", 60)  # it is not to be good
        return site.root, site.train(1, course=replace(COURSE, engine="recurrent", due_days=0))


def test_a_network_waits_for_the_trees_on_trial_and_then_goes_on_trial_itself(
    trained: tuple[Path, Result], network: tuple[Path, Result], tmp_path: Path
) -> None:
    site = QuantileSite(Path(shutil.copytree(network[0], tmp_path / "site")))
    told = network[1].values["trained"][CPU_MILLICORES]
    assert (told["status"], told["vms"]) == ("candidate", VMS)
    header = load_quantiles(site.context().artifacts, told["model"], now=NOW).header
    assert (header.parameters["engine"], set(header.libraries)) == ("recurrent", {"jax", "numpy"})
    assert header.rows == told["rows"] > 5000
    site.review(3)  # the trees are worse than what speaks without any
    assert site.versions() == {name_of(trained): "rolled_back", name_of(network): "canary"}
    done, forecast = site.forecast(3)
    assert done.values["engines"]["recurrent"] > 0
    assert forecast.models == (name_of(network),)
    assert {"recurrent", "mix"} < set(forecast.engines)


def test_a_network_needs_no_library_but_numpy_to_speak(
    network: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = QuantileSite(Path(shutil.copytree(network[0], tmp_path / "site")))
    monkeypatch.setitem(sys.modules, "jax", None)
    assert load_quantiles(site.context().artifacts, name_of(network), now=NOW).quantiles.rows > 0
    with pytest.raises(HeadroomError) as caught:
        site.train(2, course=replace(COURSE, engine="recurrent", due_days=0))
    assert caught.value.code == "library.missing"
    with pytest.raises(HeadroomError) as caught:
        site.train(2, course=replace(COURSE, engine="recurrent", purpose="outcome"))
    assert caught.value.code == "model.request"


def test_a_network_that_is_not_what_was_trained_is_refused(network: tuple[Path, Result], tmp_path: Path) -> None:
    artifacts = QuantileSite(Path(shutil.copytree(network[0], tmp_path / "site"))).context().artifacts
    header = load_quantiles(artifacts, name_of(network), now=NOW).header
    weights = artifacts.get_bytes(header.trees[0])
    for change, code in (
        ({"trees": (artifacts.put_bytes(weights[4:]),)}, "damaged"),
        ({"trees": (artifacts.put_bytes(b"\xff" * len(weights)),)}, "damaged"),
        ({"trees": header.trees * 2}, "foreign"),
        ({"parameters": {**header.parameters, "steps": "x"}}, "damaged"),
        ({"parameters": {**header.parameters, "engine": "quantile_trees"}}, "foreign"),
        ({"features": header.features[1:]}, "foreign"),
        ({"feature_version": header.feature_version + 1}, "foreign"),
        ({"libraries": {**header.libraries, "numpy": "1.0"}}, "library"),
    ):  # fmt: skip
        name = artifacts.put(replace(header, **change))
        with pytest.raises(HeadroomError) as caught:
            load_quantiles(artifacts, name, now=NOW)
        assert caught.value.code == f"model.{code}", change
