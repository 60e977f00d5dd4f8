# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Script of the page, named by its digest in the content security policy.

It sorts, searches and follows links into what is folded or filtered away. Without it the tables are whole and in
their useful order, and nothing is shown that would not work.
"""

from __future__ import annotations

SCRIPT = r"""
(() => {
  const collator = new Intl.Collator("en", {numeric: true});
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return a !== "" && b !== "" && !isNaN(x) && !isNaN(y) ? x - y : collator.compare(a, b);
  };
  for (const table of document.querySelectorAll("table")) {
    const heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(one => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = Array.from(body.rows, row => {
          const cell = row.cells[column];
          return [cell.dataset.sort ?? cell.textContent.trim(), row];
        });
        keyed.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
        body.replaceChildren(...keyed.map(one => one[1]));
      });
    });
  }

  const everyone = document.getElementById("everyone");
  const controls = document.getElementById("controls"), search = document.getElementById("search"),
    verdict = document.getElementById("verdict"), count = document.getElementById("count");
  const rows = everyone ? Array.from(everyone.tBodies[0].rows, row => ({
    row, words: row.textContent.toLowerCase(), is: " " + row.dataset.is + " "
  })) : [];
  const filter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean), is = verdict.value;
    let shown = 0;
    for (const one of rows) {
      const fits = (!is || one.is.includes(" " + is + " ")) && wanted.every(word => one.words.includes(word));
      one.row.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown + " of " + rows.length;
  };
  if (everyone) {
    let timer;
    search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 120); });
    verdict.addEventListener("change", filter);
    controls.hidden = false;
    filter();
  }

  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let one = target.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    if (target.hidden) { search.value = verdict.value = ""; filter(); }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
"""
