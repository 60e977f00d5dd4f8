#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: telemetry_collect
short_description: Collect what the VMs use, from their platforms, from samplers, Prometheus or a file
version_added: 0.1.0
description:
  - Stores what each VM used as intervals with mean, 95th percentile and maximum, and says for how much of each interval
    that speaks.
  - By default it samples the endpoints. It reads the counters of all running VMs again and again for a while and turns
    them into rates; a read-only connection is enough, and no statistics are switched on for it.
  - With O(prometheus) it reads what a Prometheus server has stored. With O(file) it reads a Parquet or CSV file. With
    O(sampler) it reads what the service of the role P(headroom.fleet.sampler#role) kept on the hypervisors.
  - What a source does not tell is unknown, never 0. To read the same again from such a source changes nothing; points
    that came late count.
  - The guide R(Telemetry, ansible_collections.headroom.fleet.docsite.guide_telemetry) lists the metrics.
options:
  endpoints:
    required: false
  duration_s:
    description: For how many seconds to sample the endpoints.
    type: int
    default: 60
  step_s:
    description: Seconds between two samples.
    type: int
    default: 5
  interval_s:
    description: Length in seconds of the intervals stored. It divides the day. A forecast reads one length.
    type: int
    default: 300
  guest_agent:
    description:
      - Whether to ask the guests' agents as well, each 30 seconds at most, for their file systems and load.
      - An agent that does not answer is not asked again. A read-only connection asks none.
    type: bool
    default: true
  prometheus:
    description: The server to read from, and what to ask it. Endpoints are not sampled then.
    type: dict
    suboptions:
      url:
        description: Of the server, without C(/api). Thanos, Mimir and VictoriaMetrics answer the same queries.
        type: str
        required: true
      metrics:
        description:
          - Metric of the guide's table -> how to ask for it.
          - C(query) is PromQL that gives one series per VM. Evaluated at a time, it speaks for the O(prometheus.step_s)
            seconds before.
          - C(unique_id) makes the VM's identifier, or its UUID or name, of the labels in braces; by default
            C({unique_id}).
          - C(factor) makes the value the metric's unit; by default 1.
          - A value that is negative or no number is left out, as is one that two series of one VM contradict; both are
            counted in RV(dropped) and lower the coverage.
        type: dict
        required: true
      history_s:
        description: How many seconds before now to read.
        type: int
        default: 3600
      step_s:
        description: Seconds between two points; it divides O(interval_s). An interval of at least two points has a
          maximum.
        type: int
        default: 60
      token:
        description: Bearer token.
        type: str
      user:
        description: User of basic authentication.
        type: str
      password:
        description: Password of basic authentication.
        type: str
      ca_path:
        description: File with the certificates of the authorities to trust, instead of the system's.
        type: path
      validate_certs:
        description: Whether to verify the server's certificate.
        type: bool
        default: true
      timeout_s:
        description: Seconds that one request may take, 3600 at most.
        type: int
        default: 60
  file:
    description:
      - A file on the controller, C(.csv) with a header, else Parquet. It may be larger than memory.
      - Nothing of a file is stored when one of its rows cannot be true; the error names the row.
    type: path
  layout:
    description: How to read the file.
    type: dict
    suboptions:
      metrics:
        description:
          - Metric of the guide's table -> where it stands.
          - C(mean), C(p95) and C(maximum) are names of columns; without the last two these are unknown.
          - C(factor) makes the value the metric's unit; C(times) names a column to multiply it with.
          - C(name) is what the column O(layout.metric) says of the metric; by default the metric's own name.
          - An empty value or NaN is no value. A negative or infinite one is an error.
        type: dict
        required: true
      unique_id:
        description: Column with the VM's identifier, UUID or name.
        type: str
        default: unique_id
      ds:
        description: Column with the START of the row's interval.
        type: str
        default: ds
      metric:
        description: Column that names the metric, in a file with one metric per row; rows of others are left out.
        type: str
        default: ''
      assume_utc:
        description: Whether times without a zone are UTC; else they are an error.
        type: bool
        default: false
      shift_s:
        description: Added to every time; minus the interval where the file has the END of an interval.
        type: int
        default: 0
  sampler:
    description:
      - A folder on the controller with a folder of samples for each endpoint, as M(headroom.fleet.sampler_fetch) fills
        it. Endpoints are not sampled then.
      - What of a file is damaged is unknown, and told in RV(gaps).
    type: path
  sampler_history_s:
    description: How many seconds before now the samples are read from O(sampler).
    type: int
    default: 3600
  snapshot:
    description:
      - Digest of the snapshot that knows the VMs. Ids in O(prometheus) or O(file) are then their identifiers, UUIDs or
        names; others are left out and counted.
      - Without it, and without O(vms), ids are taken for identifiers as they are.
    type: str
  vms:
    description: Id in the source -> identifier of the VM. Without O(snapshot), ids that are not here are left out.
    type: dict
attributes:
  check_mode:
    support: full
    details:
      - The intervals go to the rehearsal that O(run_id) names, not to the telemetry store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.demand_forecast
  - module: headroom.fleet.sampler_fetch
  - ref: ansible_collections.headroom.fleet.docsite.guide_telemetry
    description: The metrics, and what each source tells of them.
"""

EXAMPLES = r"""
- name: Sample the fleet for a minute
  headroom.fleet.telemetry_collect:
    duration_s: 60
  run_once: true

- name: Read the last four weeks from Prometheus
  headroom.fleet.telemetry_collect:
    prometheus:
      url: https://prometheus.example.org
      token: "{{ prometheus_token }}"
      history_s: 2419200
      metrics:
        cpu_millicores:
          query: sum by (uuid) (rate(libvirt_domain_info_cpu_time_seconds_total[2m]))
          unique_id: rack1/{uuid}
          factor: 1000
        memory_used_mib:
          query: >-
            sum by (uuid) (libvirt_domain_memory_stats_available_bytes - libvirt_domain_memory_stats_usable_bytes)
          unique_id: rack1/{uuid}
          factor: 9.5367431640625e-07
    snapshot: "{{ observed.snapshot }}"
  run_once: true

- name: Read what the samplers kept in the last hour
  headroom.fleet.telemetry_collect:
    sampler: /var/cache/headroom/samples
  run_once: true

- name: Read a file of utilisations in percent, sampled each five minutes
  headroom.fleet.telemetry_collect:
    file: trace.csv
    layout:
      unique_id: vm
      ds: time
      metrics:
        cpu_millicores:
          mean: cpu_percent
          maximum: cpu_percent_max
          factor: 10
          times: vcpus
        memory_used_mib:
          mean: memory_mib
    vms:
      web1: rack1/2e7b2b1e-0c9b-4a26-9c0a-0d5a1f1e7a11
  run_once: true
"""

RETURN = r"""
started_at:
  description: When the first sample was taken, or where the range read from Prometheus begins.
  returned: except for a file
  type: str
  sample: '2026-01-31T11:59:00Z'
finished_at:
  description: When the last sample was taken, or where the range ends.
  returned: except for a file
  type: str
  sample: '2026-01-31T12:00:00Z'
vms:
  description: How many VMs told anything.
  returned: success
  type: int
  sample: 214
samples:
  description: How many samples were taken of all VMs together, or points read.
  returned: except for a file
  type: int
  sample: 2782
rows:
  description: How many intervals were stored.
  returned: success
  type: int
  sample: 642
silent:
  description: For each metric of which some of these VMs told nothing, how many.
  returned: success
  type: dict
  sample: {memory_used_mib: 3}
dropped:
  description: For each metric with points that say nothing, how many and why.
  returned: with O(prometheus)
  type: dict
  sample: {cpu_millicores: {not_a_number: 12}}
unknown_vms:
  description: How many ids of the source are no known VM's. A warning names some.
  returned: with O(prometheus) or O(file)
  type: int
  sample: 2
files:
  description: How many files of samplers were read.
  returned: with O(sampler)
  type: int
  sample: 13
gaps:
  description: What could not be read.
  returned: when endpoints are sampled, and with O(sampler)
  type: list
  elements: dict
  contains:
    endpoint:
      description: Name of the endpoint.
      type: str
    subject:
      description: V(endpoint), or the name of the VM, host or file.
      type: str
    code:
      description: Stable code of the error.
      type: str
    message:
      description: The reason.
      type: str
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.telemetry import RULES, TELEMETRY, collect_from


def main() -> None:
    run(collect_from, TELEMETRY, **RULES)


if __name__ == "__main__":
    main()
