# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of CPUs, read and written."""

from __future__ import annotations

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.cpuset import format_cpuset, parse_cpuset


@pytest.mark.parametrize(
    ("text", "numbers", "canonical"),
    [
        ("", set(), ""),
        ("0", {0}, "0"),
        ("0-3,8", {0, 1, 2, 3, 8}, "0-3,8"),
        ("8,3,2,1,0,0", {0, 1, 2, 3, 8}, "0-3,8"),
        ("1,2", {1, 2}, "1-2"),
        ("63-64", {63, 64}, "63-64"),
    ],
)
def test_a_set_has_many_ways_to_be_written_and_one_to_be_kept(text: str, numbers: set[int], canonical: str) -> None:
    assert parse_cpuset(text) == numbers
    assert format_cpuset(numbers) == canonical


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0-x", "^1", "1.5", "0-99999999999"])
def test_what_is_no_set_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_cpuset(text)
