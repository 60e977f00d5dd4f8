# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times and waits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc, parse_utc, wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._core.needs import needs


def test_offsets_become_utc():
    assert parse_utc("2026-03-29T03:30:00+02:00") == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert format_utc(parse_utc("2026-03-29T03:30:00+02:00")) == "2026-03-29T01:30:00Z"


@pytest.mark.parametrize(("text", "code"), [("soon", "time.invalid"), ("2026-03-29T03:30:00", "time.naive")])
def test_bad_times(text, code):
    with pytest.raises(HeadroomError) as caught:
        parse_utc(text)
    assert caught.value.code == code


def test_a_wait_ends_at_its_deadline_or_at_once():
    clock = iter(range(100))
    slept = []
    assert not wait_until(lambda: False, timeout_s=3, poll_s=1, sleep=slept.append, monotonic=lambda: next(clock))
    assert slept == [1, 1]
    assert wait_until(lambda: "yes", timeout_s=0) == "yes"


def test_a_missing_library_is_named_and_a_broken_one_is_not_called_missing():
    with pytest.raises(HeadroomError) as caught, needs("yaml"):
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
    assert caught.value.code == "library.missing"
    assert "PyYAML" in caught.value.advice
    with pytest.raises(ModuleNotFoundError), needs("yaml"):
        raise ModuleNotFoundError("No module named 'yamlcore'", name="yamlcore")
