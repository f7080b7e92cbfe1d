"use strict";
// Sorting, filtering, language and colours. The page is whole without it: everything is in the markup, this only rearranges and hides.

const root = document.documentElement;
const byId = (id) => document.getElementById(id);

function value(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function order(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === ""); // holes last, whichever way
  if (typeof a === typeof b) return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return typeof a === "number" ? -1 : 1;
}

// Rows move within their own group: a score that is not C-MTEB's never stands among those that are.
function sort(heading) {
  const table = heading.closest("table");
  const first = heading.classList.contains("number") || heading.classList.contains("run") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = heading.getAttribute("aria-sort") === first ? other : first;
  for (const each of heading.parentElement.children) if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", direction);
  const column = heading.cellIndex;
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const keyed = rows.map((row) => [value(row.cells[column]), row]);
    keyed.sort(([a], [b]) => order(a, b, direction === "ascending" ? 1 : -1));
    body.append(...keyed.map(([, row]) => row));
  }
}

function filter() {
  const type = byId("type").value;
  const source = byId("source").value;
  const words = byId("model").value.toLowerCase().split(/\s+/).filter(Boolean);
  const runs = new Set();
  const rows = [...document.querySelectorAll(".board tr[data-run]")];
  for (const row of rows) {
    const text = row.dataset.find.toLowerCase();
    if ((!source || row.dataset.kind === source) && words.every((word) => text.includes(word))) runs.add(row.dataset.run);
  }
  for (const each of document.querySelectorAll("[data-run]")) each.hidden = !runs.has(each.dataset.run);
  for (const each of document.querySelectorAll("[data-type]")) each.hidden = Boolean(type) && each.dataset.type !== type;
  for (const body of document.querySelectorAll(".board tbody")) body.hidden = ![...body.rows].some((row) => row.dataset.run && !row.hidden);
  byId("count").textContent = runs.size;
  document.querySelector(".nothing").hidden = runs.size > 0;
}

function speak(language) {
  root.lang = language;
  const key = language === "en" ? "en" : "zh";
  for (const each of document.querySelectorAll("option[data-en]")) each.textContent = each.dataset[key];
}

for (const button of document.querySelectorAll("button.sort")) button.addEventListener("click", () => sort(button.closest("th")));
for (const event of ["input", "change"]) byId("filters").addEventListener(event, filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(filter));
byId("language").addEventListener("click", () => speak(root.lang === "en" ? "zh-Hans" : "en"));
byId("theme").addEventListener("change", (event) => {
  if (event.target.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = event.target.value;
});
window.addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
filter(); // a browser may bring back what was typed before
