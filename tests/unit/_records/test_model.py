# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's record: a round trip, and one clear error for whatever bytes come from elsewhere."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import MOST_BYTES, Day, Model, read_model

MODEL = Model(
    purpose="outcome",
    metric="cpu_millicores",
    target="maximum",
    interval_s=300,
    lead_s=300,
    every_s=3600,
    start="2026-02-01T00:00:00Z",
    end="2026-03-01T00:00:00Z",
    rows_digest="sha256:r",
    vms=3,
    rows=5000,
    features=("exceeded_1h", "last"),
    feature_version=1,
    libraries={"lightgbm": "4.6.0", "numpy": "2.2.0"},
    seed=0,
    parameters={"learning_rate": "0.1"},
    point={"violation": "1"},
    trees=("sha256:a", "", "sha256:c"),
    expected=(Day(5000, 400_000), Day(6000, 410_000)),
)


def written(model):
    return canonical_bytes(encode_artifact(model))


def test_round_trip():
    assert read_model(written(MODEL)) == MODEL


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "weather"}, {"metric": "disk_read_iops"}, {"interval_s": 0}, {"interval_s": 7}, {"lead_s": -300},
        {"lead_s": 100}, {"every_s": 0}, {"every_s": 450}, {"trees": ()}, {"trees": ("",) * 65}, {"vms": 0},
        {"rows": -1}, {"features": ("f",) * 4097}, {"expected": (Day(-1, 0),)},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change):
    with pytest.raises(HeadroomError) as caught:
        read_model(written(replace(MODEL, **change)))
    assert caught.value.code == "record.invalid"
    assert caught.value.advice


def test_what_is_too_large_is_not_parsed():
    with pytest.raises(HeadroomError) as caught:
        read_model(b" " * (MOST_BYTES + 1))
    assert caught.value.code == "json.invalid"


def test_damaged_bytes_are_a_model_or_one_clear_error():
    rng = random.Random(16)  # noqa: S311 - damage that can be repeated
    data = written(MODEL)
    codes = set()
    for _round in range(3000):
        damaged = bytearray(data)
        for _change in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            what = rng.choice(("flip", "cut", "repeat", "digit"))
            if what == "flip":
                damaged[at] = rng.randrange(256)
            elif what == "cut":
                del damaged[at : at + rng.randint(1, 30)]
            elif what == "repeat":
                damaged[at:at] = damaged[at : at + rng.randint(1, 30)]
            else:
                damaged[at:at] = rng.choice((b"9" * 20, b"-1", b"null", b"[]", b"{}", b"1.5", b'"x"', b"NaN"))
            if not damaged:
                break
        try:
            assert read_model(bytes(damaged)).KIND == "model"
        except HeadroomError as error:
            codes.add(error.code)
    assert {"json.invalid", "record.invalid"} <= codes
