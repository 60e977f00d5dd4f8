# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Style sheet of the page, named by its digest in the content security policy.

Blue and orange tell past and forecast apart for every kind of colour vision; no colour stands without a sign or word.
"""

from __future__ import annotations

STYLE = r"""
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1a1f26; --soft: #55606e; --line: #d9dee5; --link: #0b57b7;
  --grow: #0b57b7; --grow-back: #e3edfa; --shrink: #1d6b3a; --shrink-back: #e2f3e8;
  --refused: #8a4b00; --refused-back: #fcefdc; --stay: #55606e; --stay-back: #eceff3;
  --bad: #b3261e; --bad-back: #fde7e5; --past: #3b78c4; --past-back: #3b78c433; --next: #b3520b; --next-back: #e8862e40;
  --after: #1d6b3a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #111418; --card: #1a1f25; --ink: #e7eaee; --soft: #a3adba; --line: #333b45; --link: #8ab8f5;
    --grow: #8ab8f5; --grow-back: #16304f; --shrink: #84d3a0; --shrink-back: #163824;
    --refused: #f2b871; --refused-back: #412b10; --stay: #a3adba; --stay-back: #2a3139;
    --bad: #ff9b92; --bad-back: #4f1a16;
    --past: #7fb0ee; --past-back: #7fb0ee38; --next: #f0a25c; --next-back: #f0a25c38;
    --after: #84d3a0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere;
}
main, header, footer { max-width: 75rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.75rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .35rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; }
section > h3 { margin: 1.5rem 0 .5rem; }
h4 { font-size: .9rem; font-weight: 600; margin: .75rem 0 .25rem; }
p { margin: .35rem 0; }
a { color: var(--link); }
code { font: .85em/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
.soft { color: var(--soft); }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; z-index: 1; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; list-style: none; padding: 0; margin: .75rem 0 0; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0; padding: 0;
}
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .85rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles dd div { white-space: nowrap; }
.tiles dd small {
  display: block; line-height: 1.3; margin-top: .15rem; font-size: .8rem; font-weight: 400; color: var(--soft);
}
.notice {
  border-left: 4px solid var(--refused); background: var(--refused-back); padding: .6rem .9rem;
  border-radius: .3rem; margin: .75rem 0;
}
.notice.bad { border-color: var(--bad); background: var(--bad-back); }
.notice p { margin: 0; }
.notice ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.tag {
  display: inline-block; border-radius: 1rem; padding: .05rem .6rem; font-size: .82rem; font-weight: 600;
  white-space: nowrap;
}
.tag.grow { color: var(--grow); background: var(--grow-back); }
.tag.shrink, .tag.done { color: var(--shrink); background: var(--shrink-back); }
.tag.refused, .tag.waits { color: var(--refused); background: var(--refused-back); }
.tag.stay { color: var(--stay); background: var(--stay-back); }
.tag.failed { color: var(--bad); background: var(--bad-back); }
.scroll {
  overflow: auto; max-height: 85vh; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
}
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; padding: .5rem .75rem; color: var(--soft); font-size: .85rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem; border-top: 1px solid var(--line); }
th, td { overflow-wrap: normal; }
tbody th, td.why { overflow-wrap: anywhere; }
thead th { border-top: 0; font-size: .82rem; color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 6rem; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.why { min-width: 16rem; }
td.why p + p { margin-top: .2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .85rem 1rem;
  min-width: 0; max-width: 40rem;
}
.card > .head {
  display: flex; flex-wrap: wrap; gap: .25rem .6rem; align-items: baseline; justify-content: space-between;
}
.chart { width: 100%; height: auto; display: block; margin: .35rem 0; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); stroke-width: 1; }
.grid.day { stroke: var(--soft); stroke-opacity: .5; }
.tick { fill: var(--soft); font-size: 11px; }
.label { fill: var(--ink); font-size: 11px; paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
.label.after { fill: var(--after); font-weight: 600; }
.band-past { fill: var(--past-back); }
.line-past { fill: none; stroke: var(--past); stroke-width: 1.5; }
.band-next { fill: var(--next-back); }
.line-next { fill: none; stroke: var(--next); stroke-width: 2; stroke-dasharray: 5 2; }
.cutoff { stroke: var(--soft); stroke-dasharray: 2 3; }
.size-now { stroke: var(--ink); stroke-width: 1.5; }
.size-after { fill: none; stroke: var(--after); stroke-width: 2.5; }
.size-after.planned { stroke-width: 2; stroke-dasharray: 2 3; }
.limit { fill: none; stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 7 3; }
.limit.after { stroke-width: 2; }
.limit.planned { stroke-dasharray: 2 3; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .25rem 0 1rem;
  font-size: .88rem;
}
.legend svg { width: 1.8rem; height: .9rem; vertical-align: -.1rem; margin-right: .35rem; }
details { margin-top: .5rem; }
summary { cursor: pointer; color: var(--link); padding: .3rem 0; }
details ul { margin: .2rem 0 .6rem; padding-left: 1.4rem; }
th button {
  font: inherit; color: inherit; background: none; border: 0; padding: .3rem 0; margin: -.3rem 0; cursor: pointer;
}
th button::after { content: " \2195"; opacity: .45; }
th[aria-sort=ascending] button::after { content: " \2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: " \2193"; opacity: 1; }
:target { outline: 3px solid var(--link); outline-offset: -3px; }
section:target, main:target { outline: none; }
dl.facts {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: .4rem 0;
  font-size: .9rem;
}
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; }
.controls { display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; margin: .5rem 0 .75rem; }
.controls[hidden] { display: none; }
.controls label {
  display: grid; gap: .15rem; font-size: .85rem; color: var(--soft); flex: 1 1 14rem; max-width: 24rem;
}
input, select {
  font: inherit; padding: .4rem .55rem; border: 1px solid var(--soft); border-radius: .4rem;
  background: var(--card); color: var(--ink); width: 100%;
}
footer { padding: 2.5rem 1rem 2rem; color: var(--soft); font-size: .85rem; }
@media (min-width: 40rem) {
  thead th { position: sticky; top: 0; background: var(--card); box-shadow: 0 1px var(--line); }
}
@media (max-width: 40rem) {
  .stack, .stack caption, .stack tbody { display: block; }
  .stack thead { position: absolute; left: -999rem; }
  .stack tr { display: flex; flex-wrap: wrap; gap: .2rem .6rem; padding: .6rem .75rem; }
  .stack tbody tr { border-top: 1px solid var(--line); }
  .stack th, .stack td { padding: 0; border: 0; min-width: 0; }
  .stack tr[hidden] { display: none; }
  .stack th, .stack td.why { flex: 1 1 100%; }
}
@media (max-width: 34rem) {
  .tick, .label { font-size: 14px; }
  dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dl.facts dd { margin-bottom: .4rem; }
  h2 { margin-top: 2rem; }
}
@media print {
  html { font-size: 11px; }
  body { background: #fff; }
  main, header, footer { max-width: none; padding: 0; }
  .controls, nav, .skip { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .card { break-inside: avoid; }
  .scroll { max-height: none; overflow: visible; }
}
"""
