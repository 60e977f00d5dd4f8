# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped sizing policy, as text: what holds where a policy of one's own says nothing.

Sources of the numbers: docs/guides/sizing-policy.md.
"""

from __future__ import annotations

DEFAULT_SOURCE = "shipped policy"

DEFAULT_POLICY = """\
# The sizing policy that Headroom ships: it recommends, and changes nothing.
schema: headroom.sizing-policy/1

defaults:
  mode: recommend                    # ignore, recommend, approve or auto; or {grow: ..., shrink: ...}
  priority: 100                      # 0 to 1000; the larger gets scarce room first
  restarts: never
  windows: always                    # when acts may begin
  cost:                              # of a unit, relative: shrinks that save most come first
    per_vcpu: 8
    per_memory_gib: 1
  vcpus:
    minimum: 1
    maximum: 64
    declared: 0                      # what its workload is said to need, while little is known; 0: nobody says
    quantile: 0.95                   # of the forecast: the upper bound that counts
    target_use_percent: 70           # grow when the upper bound is more than this share of the size
    shrink_target_use_percent: 65    # shrink only to a size of which the upper bound is no more than this share
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
  memory:
    minimum_mib: 128
    maximum_mib: 524288
    declared_mib: 0
    granule_mib: 128
    quantile: 0.98
    target_use_percent: 90
    shrink_target_use_percent: 85
    guest_floor_percent: 15          # above what the guest itself used at most
    error_budget_percent: 0.25       # tighter than that of service: what is short of memory may be killed
    calm_swap_kib_per_s: 64          # a guest that swapped so much keeps its memory for a day; one with an OOM too
    calm_major_faults_per_s: 100     # pages brought back from a disk, as well
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
  cpu_limit:                         # how much of its vCPUs a VM may use: a quota that can be lifted in seconds
    profile: none                    # none: not planned; careful: as sizes; elastic: follows demand within minutes
    minimum_millicores: 100
    minimum_percent: 10              # of all its vCPUs; the larger of the two counts
    quantile: 0.95
    target_use_percent: 70
    shrink_target_use_percent: 65
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
    shrink_hold_minutes: 15          # elastic: since the last act on the limit; growing waits for nothing
  cpu_shares:                        # its part of a busy host, 100 for each vCPU of demand; of VMs that have shares
    profile: none
    minimum: 10
    maximum: 10000
    quantile: 0.95
    target_use_percent: 100
    shrink_target_use_percent: 80
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
    shrink_hold_minutes: 15
  disk_limit:                        # of each disk, reads and writes together
    profile: none
    minimum_iops: 100
    maximum_iops: 20000              # a limit that comes to so much is taken away
    minimum_bytes_per_s: 1000000
    maximum_bytes_per_s: 1000000000
    quantile: 0.98
    target_use_percent: 40           # demand comes in bursts
    shrink_target_use_percent: 35
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
    shrink_hold_minutes: 15
  network_limit:                     # of each interface and direction
    profile: none
    minimum_bits_per_s: 1000000
    maximum_bits_per_s: 10000000000
    quantile: 0.98
    target_use_percent: 40
    shrink_target_use_percent: 35
    minimum_change_percent: 10
    step_limit: {grow: none, shrink: 50 %}
    shrink_hold_minutes: 15
  guard:                             # between plans: what is short now grows at once; nothing shrinks
    cpu_limit: grow                  # grow, or none: left to the plans
    disk_limit: grow
    network_limit: grow
    vcpus: none
    memory: grow
    freshness_minutes: 15            # since the newest interval began: older ones tell it nothing
    saturated_percent: 98.5          # of its CPU, or of a limit, used
    delay_percent: 5                 # of its CPU limit: ready to run, and not let run
    memory_used_percent: 92          # a guest's kernel keeps some for itself: it never uses all
    swap_kib_per_s: 1024
    major_faults_per_s: 500
    cpu_jump_percent: 240            # of what it has; at least to the largest use of the last day
    disk_jump_percent: 240
    network_jump_percent: 240
    memory_jump_percent: 120
    memory_jump_mib: 100             # more at least
  service:                           # what each VM is owed; its price where an outcome model speaks
    slo: slo4
    error_budget_percent: 1          # share of its intervals that a VM may get too little in
  grow:
    hold_minutes: 15                 # since the last act on the same resource
  shrink:
    hold_hours: 24                   # and since the present size or more was last wanted
    history_days: 7                  # a full cycle: a month where load follows the month
    freshness_minutes: 15
    coverage_percent: 80             # of the intervals of that history

capacity:
  ha_reserve_hosts: 1                # a host set keeps room for its VMs with so many of its hosts lost

budgets:                             # how many acts; taken whole: a limit left out of one's own is 1
  at_once: {per_host: 1, per_host_set: 2, per_tenant: 2, per_platform: 8}
  window: {hours: 24, per_host: 20, per_host_set: 50, per_tenant: 50, per_platform: 200}

plan:
  expires_hours: 24
"""
