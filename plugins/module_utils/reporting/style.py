# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How the pages look: one style sheet inside of each page, for light and dark, for desks and telephones."""

from __future__ import annotations

# Texts have a contrast of at least 4.5 : 1 to what is behind them, bars and lines at least 3 : 1.
STYLE = """\
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d5dae0;
  --good: #11632a; --good-paper: #e2f5e6; --note: #7a4d00; --note-paper: #fdf3d0;
  --bad: #a40e26; --bad-paper: #fde8ea; --idle: #50575f; --idle-paper: #e9ecef;
  --full: #0b5cad; --differential: #8250df; --incremental: #b35900; --other: #57606a; --trace: #1b1f24;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1318; --paper: #171c23; --ink: #e6eaef; --quiet: #9aa4af; --line: #303842;
    --good: #5fd37a; --good-paper: #15301d; --note: #e3b341; --note-paper: #33290f;
    --bad: #ff8a80; --bad-paper: #3c191c; --idle: #adb5bd; --idle-paper: #252b33;
    --full: #6cb0f5; --differential: #c297ff; --incremental: #f0954a; --other: #9aa4af; --trace: #e6eaef;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
td { overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 1.75rem 0 .5rem; }
p { margin: .25rem 0; }
a { color: var(--full); }
.quiet, footer { color: var(--quiet); font-size: .9rem; }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: .5rem; }
.status {
  display: inline-block; padding: .05rem .5rem; border-radius: 1rem; font-size: .875rem; font-weight: 600;
  white-space: nowrap;
}
.good { color: var(--good); background: var(--good-paper); }
.note { color: var(--note); background: var(--note-paper); }
.bad { color: var(--bad); background: var(--bad-paper); }
.idle { color: var(--idle); background: var(--idle-paper); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .5rem; margin: .75rem 0; }
.facts div { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; }
.facts dt { color: var(--quiet); font-size: .8rem; }
.facts dd { margin: 0; font-weight: 600; }
.list { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .5rem 1rem .5rem 2rem; }
.list.bad, .list.note { color: var(--ink); }
.list.bad { background: var(--bad-paper); border-color: var(--bad); }
.list.note { background: var(--note-paper); border-color: var(--note); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .75rem; }
figure {
  margin: 0; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem;
}
figure img { display: block; width: 100%; height: auto; margin: .35rem 0; border: 1px solid var(--line); }
figcaption { font-weight: 600; font-size: .95rem; }
svg { display: block; width: 100%; height: auto; max-height: 16rem; }
svg text { fill: var(--quiet); font-size: 11px; font-family: inherit; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .full, svg .synthetic_full { fill: var(--full); }
svg .differential { fill: var(--differential); }
svg .incremental { fill: var(--incremental); }
svg .other { fill: var(--other); }
svg .hatch { stroke: var(--paper); stroke-width: 2.5; }
svg .trace { fill: none; stroke: var(--trace); stroke-width: 2; }
svg .dot { fill: var(--paper); stroke: var(--trace); stroke-width: 2; }
svg .outage { stroke-dasharray: 5 4; stroke: var(--bad); }
svg .mark { font-weight: 700; font-size: 11px; text-anchor: middle; }
svg .mark.good { fill: var(--good); }
svg .mark.note { fill: var(--note); }
svg .mark.bad { fill: var(--bad); }
.legend {
  display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .25rem 0 0; padding: 0; list-style: none;
  font-size: .85rem;
}
.legend svg { display: inline-block; width: 1.1rem; height: .8rem; vertical-align: -.05rem; margin-right: .3rem; }
details { margin-top: .5rem; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; }
.wide { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; }
thead th { color: var(--quiet); font-size: .8rem; white-space: nowrap; }
tbody { border-top: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th.name { min-width: 9rem; font-weight: 600; }
th time, td time { white-space: nowrap; }
td .quiet, th .quiet { display: block; font-weight: 400; }
.notes td { padding-top: 0; }
.notes p { font-size: .875rem; }
.past { letter-spacing: .15em; font-weight: 700; white-space: nowrap; }
.past span { background: none; }
.charts + .wide { margin-top: .75rem; }
@media (max-width: 52rem) {
  body { padding: .75rem; }
  .wide { background: none; border: 0; overflow: visible; }
  table, tbody, tr, td, tbody th { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody {
    background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; margin-bottom: .6rem;
    padding: .4rem 0;
  }
  td, tbody th { padding: .15rem .75rem; }
  tbody th.name { font-size: 1.05rem; }
  td[data-title] { display: flex; justify-content: space-between; gap: 1rem; text-align: right; }
  td[data-title]::before { content: attr(data-title); color: var(--quiet); text-align: left; flex: none; }
  .notes td { padding-top: .15rem; }
}
@media print { body { background: none; max-width: none; } .list, figure, tbody { break-inside: avoid; } }
"""
