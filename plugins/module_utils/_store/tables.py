# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrow tables as Parquet bytes, so that the artifact store can keep them by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 2**20


def table_bytes(table: pa.Table) -> bytes:
    """Parquet, the same bytes for the same table (and the same release of pyarrow): one chunk, no time of writing."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    return bytes(sink.getvalue())


def table_from_bytes(data: bytes) -> pa.Table:
    """Read what ``table_bytes`` wrote. Raises ``table.invalid``."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise HeadroomError(
            "table.invalid", f"This is not a Parquet table: {error}.", advice="Make the artifact again."
        ) from error
