# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical JSON: what digests cover, and what may never stand in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import (
    canonical_bytes,
    digest,
    parse_json,
)
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_round_trip_and_idempotence(value):
    data = canonical_bytes(value)
    assert parse_json(data) == value
    assert canonical_bytes(parse_json(data)) == data


def test_known_bytes():
    # The key order of RFC 8785, section 3.2.3, on the keys of the basic plane.
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u0080": 5, "\u00f6": 6}
    expected = '{"\\r":2,"1":4,"\u0080":5,"\u00f6":6,"\u20ac":1,"\ufb33":3}'
    assert canonical_bytes(value).decode() == expected
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("bad", [1.5, float("nan"), 2**53, "\ud800", {1: 2}, {"\U0001f600": 1}, b"x", [{"a": {0.1}}]])
def test_what_has_no_place_in_a_digest(bad):
    with pytest.raises(HeadroomError) as caught:
        canonical_bytes(bad)
    assert caught.value.code == "json.not_canonical"


@pytest.mark.parametrize("bad", [b"", b"{", b'{"a":1,"a":2}', b"1.0", b"NaN", b"1e3", b"\xff", b"[" * 100_000])
def test_foreign_bytes_are_refused(bad):
    with pytest.raises(HeadroomError):
        parse_json(bad)


def test_size_is_bounded():
    with pytest.raises(HeadroomError, match="more than 10"):
        parse_json(b'"0123456789"', max_bytes=10)


@given(st.binary(max_size=200))
def test_never_anything_but_a_headroom_error(data):
    try:
        value = parse_json(data)
    except HeadroomError:
        return
    assert canonical_bytes(value) == canonical_bytes(json.loads(data))
