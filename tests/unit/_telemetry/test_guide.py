# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide to telemetry says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.telemetry import COLUMN, QUERY, TELEMETRY
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import METRICS

CHECKOUT = Path(__file__).parents[3]
GUIDE = (CHECKOUT / "docs/docsite/rst/guide_telemetry.rst").read_text()
EXAMPLES = re.findall(r"\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", GUIDE)


def test_its_table_is_of_all_metrics_and_no_others():
    table = GUIDE.partition("The metrics\n")[2].partition("From libvirt\n---")[0]
    first_cells = re.findall(r"^  \* - (.*)$", table, re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r"``(\w+)``", cell)}
    assert named == set(METRICS)


@pytest.mark.parametrize("text", EXAMPLES)
def test_its_examples_are_options_that_exist(text):
    (play,) = yaml.safe_load(text)
    given = play["tasks"][-1]["headroom.fleet.telemetry_collect"]
    assert set(given) <= set(TELEMETRY)
    for source, spec in (("prometheus", QUERY), ("layout", COLUMN)):
        options = given.get(source, {})
        assert set(options) <= set(TELEMETRY[source]["options"])
        for metric, said in options.get("metrics", {}).items():
            assert metric in METRICS
            assert set(said) <= set(spec)


def test_there_is_an_example_of_each_source():
    assert len(EXAMPLES) == 4
