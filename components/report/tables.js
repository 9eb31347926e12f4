"use strict";
// Tables of many rows are filtered and sorted. The page has all its content without this.
const FEWEST = 8;

function sortKey(row, column, numeric) {
  const text = row.cells[column].textContent.trim();
  if (!numeric) return text;
  const number = text.replace(/,(?=\d{3})/g, "").replace("−", "-").match(/-?\d+(\.\d+)?/);
  return number ? Number(number[0]) : Infinity;
}

function sortBy(table, head, descending) {
  const column = head.cellIndex, numeric = head.classList.contains("n");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const keyed = rows.map((row) => [sortKey(row, column, numeric), row]);
    keyed.sort(([a], [b]) => (numeric ? (a > b) - (a < b) : a.localeCompare(b)));
    if (descending) keyed.reverse();
    body.append(...keyed.map(([, row]) => row));
  }
}

function addSorting(table) {
  for (const head of table.tHead.rows[0].querySelectorAll("th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => sortBy(table, head, head.ariaSort === "ascending");
  }
}

function addFilter(table, rows) {
  const label = document.createElement("label"), input = document.createElement("input");
  const found = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  label.append("Rows with ", input, " ", found);
  table.closest(".scroll").before(label);
  input.oninput = () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    for (const body of table.tBodies) body.hidden = [...body.rows].every((row) => row.hidden || row.classList.contains("group"));
    found.value = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  };
}

for (const table of document.querySelectorAll(".scroll > table")) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.classList.contains("group"));
  if (rows.length >= FEWEST) {
    addFilter(table, rows);
    if (table.tHead.rows.length === 1) addSorting(table);
  }
}
