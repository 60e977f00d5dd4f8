# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  artifacts_url:
    description:
      - URL or path of the artifact store. Objects of any C(fsspec) filesystem can serve, for example
        V(s3://bucket/headroom), for which C(s3fs) is needed.
      - Credentials do not belong into it, and a URL that holds some is refused. They come from the environment of the
        controller, as the filesystem's library reads it. For S3 these are E(AWS_ACCESS_KEY_ID),
        E(AWS_SECRET_ACCESS_KEY) and E(AWS_REGION), and for a server other than Amazon's E(AWS_ENDPOINT_URL).
      - Taken from the variable C(headroom_artifacts), else from the environment variable E(HEADROOM_ARTIFACTS), else
        it lies in the user's state directory and a warning says so.
    type: str
  state_url:
    description:
      - URL or path of the state store, an SQLite file or a PostgreSQL database such as
        V(postgresql://host/headroom), for which C(psycopg) is needed.
      - Better than a password in the URL is a file that E(PGPASSFILE) names, for example from a credential of the
        automation controller. A password in it is masked like the whole URL in results and logs, and is never part of
        a command line.
      - Taken from the variable C(headroom_state), else from the environment variable E(HEADROOM_STATE), else it lies
        in the user's state directory and a warning says so.
    type: str
  telemetry_url:
    description:
      - URL or path of the telemetry store, a folder of Delta tables, for example V(s3://bucket/telemetry).
      - Credentials come from the environment, as for O(artifacts_url). Several controllers may write to one table on S3
        if the server supports conditional writes, as Amazon's and MinIO's do.
      - Taken from the variable C(headroom_telemetry), else from the environment variable E(HEADROOM_TELEMETRY), else
        it lies in the user's state directory and a warning says so.
    type: str
  run_id:
    description:
      - Name of the run, in every record that it leaves. All stages of one cycle share it, and in check mode the
        rehearsal.
      - Taken from the variable C(headroom_run_id); made up if there is none.
    type: str
  now:
    description:
      - Pins the clock, as V(2026-01-31T12:00:00Z), so that a run can be repeated on the same records. Leases and
        budgets keep to the clock of the state store.
      - Taken from the variable C(headroom_now).
    type: str
  who:
    description:
      - Whom the records name.
      - Taken from the variable C(headroom_who), else C(awx_user_name), else it is the user who runs the process.
    type: str
requirements:
  - SQLAlchemy >= 2.0.30
  - fsspec
  - deltalake, pyarrow, numpy
author:
  - Headroom contributors (@headroom)
"""
