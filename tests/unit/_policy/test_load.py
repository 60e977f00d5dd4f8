# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is wrong in a policy is one error that names its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._policy.load import MAX_BYTES, compose
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy

SCHEMA = "schema: headroom.sizing-policy/1\n"


def refusal(text: str | bytes) -> HeadroomError:
    with pytest.raises(HeadroomError) as caught:
        load_policy(text, name="p.yml")
    return caught.value


# What is written from the second line on, where it is wrong, and words of the message or the advice.
WRONG = [
    ("defaults:\n  modus: auto", (3, 3), "Did you mean 'mode'?"),
    ("default: {}", (2, 1), "Did you mean 'defaults'?"),
    ("defaults:\n  vcpus: {minimum: 1, minimun: 2}", (3, 23), "Did you mean 'minimum'?"),
    ("defaults:\n  priority: 1\n  priority: 2", (4, 3), "stands twice in defaults, first on line 3"),
    ("defaults:\n  mode: off", (3, 9), "needs quotes"),
    ("defaults:\n  mode: no", (3, 9), "reads as true or false"),
    ("defaults:\n  mode: {shrink: yes}", (3, 18), "reads as true or false"),
    ("defaults:\n  mode: 'off'", (3, 9), "Known: approve, auto, ignore, recommend."),
    ("defaults:\n  mode: [auto]", (3, 9), "must be a text"),
    ("defaults:\n  mode: {growing: auto}", (3, 10), "Did you mean 'grow'?"),
    ("defaults:\n  priority: '5'", (3, 13), "must be a whole number"),
    ("defaults:\n  priority: 5.0", (3, 13), "must be a whole number"),
    ("defaults:\n  priority: 0x10", (3, 13), "must be a whole number"),
    ("defaults:\n  priority: 010", (3, 13), "must be a whole number"),
    ("defaults:\n  priority: 1_0", (3, 13), "must be a whole number"),
    ("defaults:\n  priority: true", (3, 13), "must be a whole number"),
    ("defaults:\n  priority:", (3, 12), "must be a whole number"),
    ("defaults:\n  priority: 1001", (3, 13), "Give 0 to 1000."),
    ("defaults:\n  priority: -1", (3, 13), "Give 0 to 1000."),
    ("defaults:\n  vcpus: 4", (3, 10), "defaults.vcpus must be a mapping"),
    ("defaults:\n  vcpus: {quantile: 0.4}", (3, 21), "from 0.5 to below 1"),
    ("defaults:\n  vcpus: {quantile: 1.0}", (3, 21), "Write it as 0.95."),
    ("defaults:\n  vcpus: {quantile: 95}", (3, 21), "Write it as 0.95."),
    ("defaults:\n  vcpus: {step_limit: 50}", (3, 23), "such as 50 %, or none"),
    ("defaults:\n  vcpus: {step_limit: }", (3, 22), "such as 50 %, or none"),
    ("defaults:\n  restarts: allowed", (3, 13), "Known: never."),
    ("defaults:\n  windows: []", (3, 12), "at least one item"),
    ("defaults:\n  windows: never", (3, 12), "Known: always."),
    ("defaults:\n  shrink: {freshness_minutes: 0}", (3, 31), "Give 1 to 1440."),
    ("budgets:\n  window: {hours: 24, per_host: 0}", (3, 33), "Give 1 to 100000."),
    ("budgets:\n  window: unlimited", (3, 11), "Known: none."),
    ("budgets:\n  at_once: none", (3, 12), "must be a mapping"),
    ("capacity: {ha_reserve_hosts: none}", (2, 30), "must be a whole number"),
    ("host_sets: [{match: lab}]", (2, 13), "has no 'ha_reserve_hosts'"),
    ("rules: []", (2, 8), "at least one item"),
    ("rules:\n  - set: {priority: 1}", (3, 5), "names no VMs"),
    ("rules:\n  - match: {}\n    set: {priority: 1}", (3, 5), "names no VMs"),
    ("rules:\n  - match: {name: a}", (3, 5), "sets nothing"),
    ("rules:\n  - match: {name: a}\n    set: {}", (4, 10), "is empty"),
    ("rules:\n  - match: {nane: a}\n    set: {priority: 1}", (3, 13), "Did you mean 'name'?"),
    ("rules:\n  - match: {name: no}\n    set: {priority: 1}", (3, 19), "Put it in quotes."),
    ("rules:\n  - match: {name: }\n    set: {priority: 1}", (3, 18), "Put it in quotes."),
    ("plan: {expires_hours: 0}", (2, 23), "Give 1 to 336."),
    ("defaults: &a {}", (2, 11), "anchors and aliases"),
    ("defaults: *a", (2, 11), "anchors and aliases"),
    ("defaults: !!python/object:os.system {}", (2, 11), "is not read"),
    ("---\nschema: x", (2, 1), "a second document"),
    ("defaults: {", (3, 1), "this is not YAML"),
    ("defaults:\n\tmode: auto", (3, 1), "this is not YAML"),
    ("? [a]\n: b", (2, 3), "the policy has no key ''"),
]


@pytest.mark.parametrize(("text", "place", "words"), WRONG, ids=[repr(one[0])[:50] for one in WRONG])
def test_what_is_wrong_is_named_with_its_place(text: str, place: tuple[int, int], words: str) -> None:
    error = refusal(SCHEMA + text + "\n")
    assert error.code == "policy.invalid"
    assert (error.details["line"], error.details["column"]) == place
    assert error.message.startswith(f"p.yml:{place[0]}:{place[1]}: ")
    assert words in f"{error.message} {error.advice}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("defaults: {}\n", "policy.schema_missing"),
        ("schema:\n", "policy.schema_missing"),
        ("schema: [1]\n", "policy.schema_missing"),
        ("schema: headroom.sizing-policy\n", "policy.schema_missing"),
        ("schema: headroom.sizing-policy/0\n", "policy.schema_missing"),
        ("- schema\n", "policy.schema_missing"),
        ("schema: headroom.sizing-policy/2\nnew: {}\n", "policy.newer"),
        ("schema: headroom.lending-policy/1\n", "policy.schema_other"),
        ("", "policy.invalid"),
        ("# nothing\n", "policy.invalid"),
    ],
)
def test_the_schema_line_decides_first(text: str, code: str) -> None:
    assert refusal(text).code == code


def test_a_text_that_is_no_text_is_refused() -> None:
    assert "not UTF-8 at byte 8" in refusal(b"schema: \xff").message
    assert refusal("a: 1\nb: \x07").details["line"] == 2


def test_size_depth_and_count_are_bounded() -> None:
    assert "bytes" in refusal("#" * (MAX_BYTES + 1)).message
    assert "nested deeper" in refusal(SCHEMA + "x: " + "[" * 5000).message
    assert "values" in refusal(SCHEMA + "x: [" + "a," * 30_000 + "]").message


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    text = "\ufeffschema: headroom.sizing-policy/1\r\ndefaults:\r\n  priority: 7\r\n"
    policy = load_policy(text.encode(), name="p.yml")
    assert policy.defaults["priority"] == (7, 3)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("abc:-[]{}&*!|>'\"#%@`,? \n\t0x~é\x00\ud800"), max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    error = None
    try:
        compose(text, name="p.yml")
    except HeadroomError as refused:
        error = refused
    assert error is None or (error.code == "policy.invalid" and error.details["line"] >= 1)
