# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outcomes: what holding each candidate size of a VM is expected to come to, as rows of a table.

One row per VM, metric and lead time of a model that speaks for it. Amounts are in units of size: vCPU, MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core.errors import HeadroomError
from .._core.needs import needs
from .candidates import COUNT, Curves, Ladder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

# The prices that the model is to be used at, in this order: those of ``_plan.price.Prices``.
PRICES = ("violation", "unserved", "resize", "ledger", "at_ease", "whole_from")
CURVES = ("violated", "unserved", "added")  # of ``candidates.Curves``, lists of COUNT
LADDER = ("lowest", "step")  # of ``candidates.Ladder``
UNIQUE_ID, METRIC, MODEL = TEXTS = ("unique_id", "metric", "model")  # model: its digest
# From a decision to when it holds; what the VM may have at most; share of the known past in which its size held it
# back; share of a size to keep free beyond what is expected of it.
LEAD_S, CAPACITY, SPENT, HEADROOM = NUMBERS = ("lead_s", "capacity", "spent", "headroom")
COLUMNS = (*TEXTS, *NUMBERS, *LADDER, *CURVES, "prices")


@dataclass(frozen=True)
class Outcomes:
    """N rows; one element of each list and array is one row."""

    texts: Mapping[str, Sequence[str]]  # by TEXTS
    numbers: Mapping[str, Doubles]  # by NUMBERS, each [N]
    prices: Doubles  # [N, len(PRICES)]
    curves: Curves

    def only(self, rows: Integers) -> Outcomes:
        """Some rows."""
        places, curves = rows.tolist(), self.curves
        return Outcomes(
            texts={name: [of[place] for place in places] for name, of in self.texts.items()},
            numbers={name: of[rows] for name, of in self.numbers.items()},
            prices=self.prices[rows],
            curves=Curves(
                Ladder(curves.ladder.lowest[rows], curves.ladder.step[rows]),
                curves.violated[rows],
                curves.unserved[rows],
                curves.added[rows],
            ),
        )

    def table(self) -> pa.Table:
        """The rows, sorted by VM, metric and lead."""
        with needs("numpy", "pyarrow"):
            import numpy as np
            import pyarrow as pa
        schema = _schema()
        keys = list(zip(self.texts[UNIQUE_ID], self.texts[METRIC], self.numbers[LEAD_S].tolist()))
        rows = self.only(np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64))
        values: dict[str, Any] = {**rows.texts, **rows.numbers}
        values.update({name: getattr(rows.curves.ladder, name) for name in LADDER})
        for name, of in (*((name, getattr(rows.curves, name)) for name in CURVES), ("prices", rows.prices)):
            flat = pa.array(np.ascontiguousarray(of).ravel(), pa.float64()).cast(schema.field(name).type.value_type)
            values[name] = pa.FixedSizeListArray.from_arrays(flat, of.shape[1])
        columns = [pa.array(values[name]).cast(schema.field(name).type) for name in COLUMNS]
        return pa.table(columns, schema=schema)


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """All rows of at least one part."""
    with needs("numpy"):
        import numpy as np
    curves = [part.curves for part in parts]
    ladders = [one.ladder for one in curves]
    return Outcomes(
        texts={name: [text for part in parts for text in part.texts[name]] for name in TEXTS},
        numbers={name: np.concatenate([part.numbers[name] for part in parts]) for name in NUMBERS},
        prices=np.concatenate([part.prices for part in parts]),
        curves=Curves(
            Ladder(*(np.concatenate([getattr(one, name) for one in ladders]) for name in LADDER)),
            *(np.concatenate([getattr(one, name) for one in curves]) for name in CURVES),
        ),
    )


def read_outcomes(table: pa.Table) -> Outcomes:
    """Read what ``Outcomes.table`` wrote. Raises ``forecast.columns``."""
    with needs("numpy"):
        import numpy as np
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise HeadroomError(
            "forecast.columns",
            f"The forecast's outcomes have no column {', '.join(missing)}.",
            advice="Make the forecast again with this release.",
        )

    def numbers(name: str) -> Doubles:
        return np.asarray(table[name].to_numpy(), dtype=np.float64)

    def lists(name: str, count: int) -> Doubles:
        flat = [chunk.flatten().to_numpy() for chunk in table[name].chunks]
        return np.concatenate([np.empty(0), *flat]).astype(np.float64).reshape(-1, count)

    return Outcomes(
        texts={name: table[name].to_pylist() for name in TEXTS},
        numbers={name: numbers(name) for name in NUMBERS},
        prices=lists("prices", len(PRICES)),
        curves=Curves(Ladder(*(numbers(name) for name in LADDER)), *(lists(name, COUNT) for name in CURVES)),
    )


def _schema() -> pa.Schema:
    with needs("pyarrow"):
        import pyarrow as pa
    types = {
        **dict.fromkeys(TEXTS, pa.dictionary(pa.int32(), pa.string())),
        **dict.fromkeys((*NUMBERS, *LADDER), pa.float64()),
        LEAD_S: pa.int64(),
        **dict.fromkeys(CURVES, pa.list_(pa.float32(), COUNT)),
        "prices": pa.list_(pa.float64(), len(PRICES)),
    }
    return pa.schema([pa.field(name, types[name], nullable=False) for name in COLUMNS])
