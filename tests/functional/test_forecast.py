# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of the forecast stage on stored telemetry: the back-test, and engines by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import COSTLY, DEFAULT_ENGINES, ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backtest import backtest_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._records.backtest import Backtest
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import Series
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand

CHECKOUT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEMANDS = {
    "lab/batch": Demand("batch", 1500, 500),
    "lab/busy": Demand("busy", 1800, 300),
    "lab/idle": Demand("idle", 60, 128),
}
OPTIONS = {"origins": 3, "history_s": 14 * 86_400}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks of telemetry."""
    place = tmp_path_factory.mktemp("backtest")
    backfill(DEMANDS, series=context(place).series, now=NOW, weeks=3)
    return place


def context(root: Path, *, check: bool = False, now: datetime = NOW) -> Context:
    urls = {name: str(root / name) for name in ("artifacts", "state", "telemetry")}
    return Context(now=now, who="tester", run_id="test", urls=urls, check=check)


def run(root: Path, **options: Any) -> Result:
    return backtest_forecast(context(root), **{**OPTIONS, **options})


def test_the_back_test_is_stored_with_its_table_and_names_what_it_read(root: Path) -> None:
    result = run(root)
    assert not result.changed
    artifacts = context(root).artifacts
    record = artifacts.get(Backtest, result.values["backtest"])
    assert record.origins == ("2026-03-02T11:00:00Z", "2026-03-02T04:00:00Z", "2026-03-01T21:00:00Z")
    assert record.engines == DEFAULT_ENGINES
    header = artifacts.get(Series, record.series)
    assert header.unique_ids == tuple(DEMANDS)
    assert (header.end, header.start) == ("2026-03-02T12:00:00Z", "2026-02-15T20:00:00Z")
    table = table_from_bytes(artifacts.get_bytes(record.table))
    assert table.num_rows == record.rows == 3 * 2 * (len(ENGINES) + 1) * 6
    there = Path(result.values["table_url"].removeprefix("file://")).read_bytes()
    assert table_from_bytes(there).equals(table)
    assert run(root).values == result.values


def test_the_summary_is_small_and_about_the_selection(root: Path) -> None:
    result = run(root)
    cpu = result.values["selected"]["cpu_millicores"]
    assert cpu["vms"] == 3
    assert set(cpu["quantiles"]) == {"0.05", "0.1", "0.5", "0.9", "0.95", "0.98"}
    assert set(cpu["intervals"]) == {"0.05-0.95", "0.1-0.9"}
    assert 0.8 < float(cpu["intervals"]["0.05-0.95"]) <= 1
    shown = result.values["msg"].splitlines()
    assert shown[0].startswith("cpu_millicores, 3 VMs, 3 origins")
    row = next(line for line in shown if line.startswith("selected"))
    assert row.split()[1] == cpu["quantiles"]["0.05"]["of_naive"]
    assert len(repr(result.values)) < 8000


def test_of_many_vms_a_sample_is_tested_always_the_same(root: Path) -> None:
    result, again = run(root, most_vms=2), run(root, most_vms=2)
    assert result.values == again.values
    assert result.values["selected"]["cpu_millicores"]["vms"] == 2
    assert "2 of 3 VMs were tested, always the same sample." in result.warnings


def test_without_telemetry_it_says_so(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.values["selected"] == {}
    assert result.warnings == ("No origin has both a past and a truth to score.",)


def test_a_rehearsal_stores_nothing(root: Path, tmp_path: Path) -> None:
    rehearsal = context(root, check=True)
    urls = {**rehearsal.urls, "artifacts": str(tmp_path / "artifacts")}
    looked = Context(now=NOW, who="tester", urls=urls, check=True)
    try:
        assert backtest_forecast(looked, **OPTIONS).values["rows"]
    finally:
        looked.close()
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"engines": ["prophet"]}, "forecast.engine"),
        ({"origins": 0}, "forecast.request"),
        ({"step_s": 100}, "forecast.request"),
        ({"quantiles": ["2"]}, "forecast.request"),
        ({"snapshot": "sha256:" + "0" * 64}, "artifact.missing"),
    ],
)
def test_bad_options_are_one_clear_error(root: Path, options: dict[str, Any], code: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        run(root, **options)
    assert caught.value.code == code


def test_the_documentation_names_the_engines_that_are_there() -> None:
    text = (CHECKOUT / "plugins/doc_fragments/forecast.py").read_text().split('r"""')[1].split('"""')[0]
    option = yaml.safe_load(text)["options"]["engines"]
    assert tuple(option["choices"]) == tuple(engine.name for engine in (*ENGINES, *COSTLY))
    assert tuple(option["default"]) == DEFAULT_ENGINES
    role = yaml.safe_load((CHECKOUT / "roles/forecast/defaults/main.yml").read_text())
    assert tuple(role["forecast_engines"]) == DEFAULT_ENGINES
