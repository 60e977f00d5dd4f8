# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answer of a range query becomes, whatever it holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store.rows import checked_rows
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.intervals import fuller, intervals
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.prometheus import Query, Span, Tally, add_answer
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.rates import StepsBuilder

CPU = "cpu_millicores"
START = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
SPAN = Span(START, START + 600, 60)


def series(values, **labels):
    return {"metric": labels, "values": [[START + at_s, value] for at_s, value in values]}


def answer(*result):
    return {"status": "success", "data": {"resultType": "matrix", "result": list(result)}}


def read(body, *, query=None, unique_ids=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    builder, tally = StepsBuilder(), Tally()
    query = query or Query("up", "lab/{uuid}")
    add_answer(body, CPU, query, SPAN, unique_ids=unique_ids, builder=builder, tally=tally)
    table = intervals(builder.steps(), interval_s=300)
    checked_rows(table)
    return table.to_pylist(), tally


def test_a_point_stands_for_the_step_that_ends_with_it():
    values = [(60 * n, str(n)) for n in range(1, 11)]
    rows, tally = read(answer(series(values, uuid="a")), query=Query("up", "lab/{uuid}", factor=10))
    assert [(row["unique_id"], row["ds"].minute, row["mean"], row["p95"], row["maximum"]) for row in rows] == [
        ("lab/a", 0, 30.0, 50.0, 50.0),  # of the points at :01 to :05, the last one at the END of the interval
        ("lab/a", 5, 80.0, 100.0, 100.0),
    ]
    assert {(row["coverage_ppm"], row["samples"]) for row in rows} == {(1_000_000, 5)}
    assert (tally.points, tally.dropped, tally.vms) == (10, {}, {CPU: {"lab/a"}})


def test_a_gap_and_what_says_nothing_lower_the_coverage_and_are_no_zero():
    values = [(60, "10"), (180, "NaN"), (240, "+Inf"), (300, "-7"), (360, "1e400")]
    rows, tally = read(answer(series(values, uuid="a")))
    assert [(row["mean"], row["maximum"], row["coverage_ppm"]) for row in rows] == [(10.0, 10.0, 200_000)]
    assert tally.dropped == {CPU: {"not_a_number": 3, "negative": 1}}


def test_one_point_an_interval_has_no_maximum():
    builder = StepsBuilder()
    span = Span(START, START + 600, 300)
    body = json.dumps(answer(series([(300, "4")], uuid="a"))).encode()
    add_answer(body, CPU, Query("up", "lab/{uuid}"), span, unique_ids=None, builder=builder, tally=Tally())
    (row,) = intervals(builder.steps(), interval_s=300).to_pylist()
    assert (row["mean"], row["p95"], row["maximum"], row["coverage_ppm"]) == (4.0, None, None, 1_000_000)


def test_a_vm_that_moved_is_whole_and_one_that_is_contradicted_is_unknown():
    before, after = [(60, "1"), (120, "1"), (180, "2")], [(180, "3"), (240, "1"), (300, "1")]
    rows, tally = read(answer(series(before, uuid="a", host="x"), series(after, uuid="a", host="y")))
    assert [(row["mean"], row["coverage_ppm"]) for row in rows] == [(1.0, 800_000)]
    assert tally.dropped == {CPU: {"ambiguous": 1}}
    rows, tally = read(answer(series(before, uuid="a", host="x"), series(before, uuid="a", host="y")))
    assert (rows[0]["coverage_ppm"], tally.dropped) == (600_000, {})


def test_ids_are_made_of_labels_and_looked_up():
    values = [(60, "1")]
    found = answer(
        series(values, name="web1", site="x"), series(values, name="web2", site="x"), series(values, site="x")
    )
    rows, tally = read(found, query=Query("up", "{site}-{name}"), unique_ids={"x-web1": "lab/u1"})
    assert [row["unique_id"] for row in rows] == ["lab/u1"]
    assert (tally.unknown, tally.unnamed) == ({"x-web2"}, 1)


def test_a_brace_that_names_no_label_is_only_a_brace():
    rows, _tally = read(answer(series([(60, "1")], a="b")), query=Query("up", "{a.__class__}{0}{}{a}"))
    assert [row["unique_id"] for row in rows] == ["{a.__class__}{0}{}b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
        {"status": "error", "error": "x"},
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "matrix"}},
        answer({"metric": {"uuid": 5}, "values": []}),
        answer({"metric": {"uuid": "a"}, "histograms": []}),
        answer({"metric": {"uuid": "a"}, "values": [[START + 60]]}),
        answer({"metric": {"uuid": "a"}, "values": [[START + 60, 5]]}),
        answer({"metric": {"uuid": "a"}, "values": [[START + 60, "five"]]}),
        answer({"metric": {"uuid": "a"}, "values": [["now", "5"]]}),
        answer(series([(0, "5")], uuid="a")),  # the point that ends the interval before
        answer(series([(601, "5")], uuid="a")),
        answer(series([(float("nan"), "5")], uuid="a")),
    ],
)
def test_an_answer_that_is_none_is_one_error(body):
    with pytest.raises(HeadroomError) as caught:
        read(body)
    assert caught.value.code == "prometheus.answer"


def test_of_an_answer_that_breaks_off_nothing_is_taken():
    builder, tally = StepsBuilder(), Tally()
    body = json.dumps(answer(series([(60, "5")], uuid="a"), series([(60, "x")], uuid="b"))).encode()
    with pytest.raises(HeadroomError):
        add_answer(body, CPU, Query("up", "{uuid}"), SPAN, unique_ids=None, builder=builder, tally=tally)
    assert (len(builder.steps().value), tally.points) == (0, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUE = st.sampled_from(["1", "NaN", "+Inf", "-1", "1e308", "0x10", "", " 2 ", "1_0", "-0"]) | st.text(max_size=4)
POINT = st.tuples(st.integers(START - 60, START + 700) | st.floats(START, START + 600), VALUE).map(list) | JSON
ONE = st.fixed_dictionaries(
    {
        "metric": st.dictionaries(st.sampled_from(["uuid", "x"]), st.text(max_size=3), max_size=2) | JSON,
        "values": st.lists(POINT, max_size=4) | JSON,
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ONE, max_size=3).map(lambda result: answer(*result)) | JSON, st.floats(1e-9, 1e300))
@example(answer(series([(60, "1e308")], uuid="a")), 1e300)
def test_any_answer_becomes_sound_rows_or_one_error(body, factor):
    try:
        rows, tally = read(body, query=Query("up", "lab/{uuid}", factor=factor))
    except HeadroomError:
        return
    assert bool(rows) == bool(tally.points)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60))
def test_any_bytes_are_one_error(body):
    with pytest.raises(HeadroomError):
        read(body)


def test_what_the_source_has_forgotten_since_does_not_count():
    def points(*minutes):
        builder = StepsBuilder()
        for minute in minutes:
            end_us = (START + 60 * minute) * 1_000_000
            builder.add("lab/a", 0, end_us - 60_000_000, end_us, float(minute))
        return intervals(builder.steps(), interval_s=300)

    known = points(1, 2, 3, 4, 5, 6)
    late = fuller(known, points(4, 5, 6, 7, 8))
    checked_rows(late)
    assert sorted((row["ds"].minute, row["mean"]) for row in late.to_pylist()) == [(0, 3.0), (5, 7.0)]
    again = fuller(known, points(1, 2, 3, 4, 5, 6))
    assert sorted(again["mean"].to_pylist()) == sorted(known["mean"].to_pylist())
    assert fuller(known.slice(0, 0), known).num_rows == 2
