# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening, creating and querying the Delta table of the telemetry store."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar
from urllib.parse import unquote, urlsplit

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import interval_schema
from .urls import refuse_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

T = TypeVar("T")

SCHEMA = 1
SCHEMA_PROPERTY = "headroom.schema"
# Old versions stay readable, for a kept series header names them: what goes is decided elsewhere, not by the log.
PROPERTIES = {SCHEMA_PROPERTY: str(SCHEMA), "delta.enableExpiredLogCleanup": "false"}
PARTITIONS = ("metric", "day")
NO_VERSION = -1  # of a table that does not exist
ATTEMPTS = 20  # of a commit among other writers; with the pauses about half a minute
FIRST_PAUSE_S = 0.05  # doubled per attempt, with jitter
LONGEST_PAUSE_S = 2.0
READINGS = ("mean", "p95", "maximum")
ROW_GROUP_ROWS = 2**17  # small enough that its statistics single out some VMs


def location(url: str) -> str:
    """Return an absolute path for a path or ``file://`` URL, any other URL as it is. Raises ``store.credentials``."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else url
        return str(Path(path).expanduser().absolute())
    refuse_credentials(url, "telemetry")
    return url.rstrip("/")


def shown(place: str) -> str:
    """Return the URL that records and messages name."""
    return Path(place).as_uri() if place.startswith("/") else place


def version_of(table: Any) -> int:
    """Return the version of an open table, NO_VERSION for None."""
    return NO_VERSION if table is None else int(table.version())


def open_table(place: str, version: Optional[int] = None) -> Any:
    """Return the DeltaTable (at a version), or None where there is none.

    Raises ``store.unreachable``, ``store.newer``, ``store.other``, ``store.version_gone``.
    """
    with needs("deltalake"):
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError
    if version == NO_VERSION:
        return None
    try:
        table = DeltaTable(place, version=version)
    except TableNotFoundError as error:
        if version is None:
            return None
        raise _version_gone(place, version, error) from error
    except DeltaProtocolError as error:
        raise newer(place, str(error)) from error
    except (DeltaError, OSError) as error:
        raise (unreachable(place, error) if version is None else _version_gone(place, version, error)) from error
    schema = table.metadata().configuration.get(SCHEMA_PROPERTY) or ""
    if not schema.isdigit():
        raise HeadroomError(
            "store.other",
            f"The Delta table at {shown(place)} is not Headroom's telemetry.",
            advice="Name another place; the table is made at the first write.",
        )
    if int(schema) > SCHEMA:
        raise newer(place, f"its schema is {schema}, this release knows {SCHEMA}")
    return table


def table_schema() -> pa.Schema:
    """Arrow schema of the table: that of its rows, and the day that they are partitioned by."""
    with needs("pyarrow"):
        import pyarrow as pa
    return interval_schema().append(pa.field("day", pa.date32(), nullable=False))


def open_or_create(place: str) -> Any:
    """Return the DeltaTable, made when there was none; two that make it at once get the same one."""
    with needs("deltalake"):
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    found = open_table(place)
    if found is not None:
        return found
    try:
        DeltaTable.create(
            place,
            table_schema(),
            partition_by=list(PARTITIONS),
            name="headroom series",
            configuration=PROPERTIES,
            raise_if_key_not_exists=False,
        )
    except (DeltaError, OSError) as error:
        made_by_another = open_table(place)
        if made_by_another is None:
            raise unreachable(place, error) from error
        return made_by_another
    return open_table(place)


def query(table: Any, text: str) -> Iterator[pa.RecordBatch]:
    """Run SQL over the table, registered as ``series``; None has no rows."""
    if table is None:
        return
    with needs("deltalake", "pyarrow"):
        import pyarrow as pa
        from deltalake import QueryBuilder
        from deltalake.exceptions import DeltaError
    try:
        yield from pa.RecordBatchReader.from_stream(QueryBuilder().register("series", table).execute(text))
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise unreachable(table.table_uri, error) from error


def filesystem(table: Any) -> Any:
    """The table's folder, with the credentials that the table was opened with."""
    with needs("pyarrow", "deltalake"):
        from deltalake.fs import DeltaStorageHandler
        from pyarrow.fs import PyFileSystem
    return PyFileSystem(DeltaStorageHandler.from_table(table._table))  # noqa: SLF001 - it takes no other


def writer_properties() -> Any:
    """How every file of the table is written.

    Whole fleets are read far more often than they are written: LZ4 is read in half the time of Zstandard. Values
    hardly ever come again, so that a dictionary of them would only be written beside their places in it.
    """
    with needs("deltalake"):
        from deltalake import ColumnProperties, WriterProperties
    return WriterProperties(
        max_row_group_size=ROW_GROUP_ROWS,
        compression="LZ4_RAW",
        column_properties=dict.fromkeys(READINGS, ColumnProperties(dictionary_enabled=False)),
    )


def retried(place: str, act: Callable[[], T]) -> T:
    """Do it again on the table's new version while another writer's commit comes first. Raises ``store.busy``."""
    with needs("deltalake"):
        from deltalake.exceptions import CommitFailedError, DeltaError
    for attempt in range(ATTEMPTS):
        try:
            return act()
        except CommitFailedError:
            pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
            time.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
        except (DeltaError, OSError) as error:
            raise unreachable(place, error) from error
    raise HeadroomError(
        "store.busy",
        f"Others wrote to the telemetry at {shown(place)} {ATTEMPTS} times while this one tried.",
        advice="Try again, or let fewer collectors write at once.",
    )


def unreachable(place: str, error: Exception) -> HeadroomError:
    """Say that the store cannot be read or written."""
    return HeadroomError(
        "store.unreachable",
        f"The telemetry store at {shown(place)} cannot be used: {_plain(error)}.",
        advice="Check the telemetry URL, its space and rights, and that its service answers.",
    )


def newer(place: str, why: str) -> HeadroomError:
    """Say that the store was made by a later release."""
    return HeadroomError(
        "store.newer",
        f"The telemetry store at {shown(place)} is newer than this release: {why}.",
        advice="Upgrade headroom.fleet.",
    )


def _version_gone(place: str, version: int, error: Exception) -> HeadroomError:
    return HeadroomError(
        "store.version_gone",
        f"Version {version} of the telemetry at {shown(place)} cannot be read: {_plain(error)}.",
        advice="Use a series header whose version the store has kept.",
    )


def _plain(error: Exception) -> str:
    """One line without the colours that the library paints its messages with."""
    text = " ".join(part.strip("\x1b[0123456789;m↳ ") for part in str(error).splitlines())
    return text.strip().rstrip(".")
