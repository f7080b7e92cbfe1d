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

// The heat map beside another reference: from the numbers of the table of scores, by the rules of heat.py.
const scores = new Map();
for (const cell of document.querySelectorAll("#scores td[data-run]")) {
  scores.set(`${cell.parentElement.cells[0].dataset.value} ${cell.dataset.run}`, cell);
}

function difference(own, base) {
  if (own === base) return ["reference", null];
  if (own.dataset.value === "" || base.dataset.value === "") return ["hole", null];
  if ((own.dataset.files ?? "") !== (base.dataset.files ?? "")) return ["not-comparable", null];
  const points = Math.round(100 * (parseFloat(own.textContent) - parseFloat(base.textContent))) / 100;
  if (!points) return ["equal", 0];
  const apart = Math.abs(own.dataset.value - base.dataset.value);
  if (base.dataset.band !== undefined && apart <= Number(base.dataset.band)) return ["within-noise", points];
  return [points > 0 ? "higher" : "lower", points];
}

function word(verdict) {
  return byId("verdicts").content.querySelector(`[data-verdict="${verdict}"]`).cloneNode(true);
}

function paint(cell, own, verdict, points, steps, examples) {
  const strength = points ? 1 + steps.filter((edge) => Math.abs(points) >= edge).length : 0;
  cell.className = `number cell ${strength ? (points > 0 ? "up" : "down") + strength : "zero"} ${verdict}`;
  cell.dataset.value = points ?? "";
  if (own.dataset.value === "") return; // why there is no score stands there whatever the reference
  const link = own.querySelector("a")?.cloneNode(false) ?? document.createElement("span");
  if (examples && points !== null) {
    link.href = `#${examples.id}`;
    link.removeAttribute("title");
  }
  const sign = points > 0 ? "+" : points < 0 ? "\u2212" : "";
  link.textContent = sign + Math.abs(points ?? 0).toFixed(2);
  cell.replaceChildren(word(verdict), ...(points === null ? [] : [verdict === "within-noise" ? "\u2248 " : "", link]));
}

function compare() {
  const reference = byId("reference").value;
  const against = byId("against").value;
  const table = document.querySelector("#heat table");
  const steps = table.dataset.steps.split(" ").map(Number);
  const comparable = new Set([reference]);
  for (const row of table.querySelectorAll("tbody tr:not(.group)")) {
    const base = scores.get(`${row.cells[0].dataset.value} ${reference}`);
    let any = false;
    for (const cell of row.querySelectorAll("[data-run]")) {
      const own = scores.get(`${row.cells[0].dataset.value} ${cell.dataset.run}`);
      const [verdict, points] = difference(own, base);
      const moved = reference === byId("moved")?.dataset.base && byId(`moved-${cell.dataset.run}-${row.cells[0].dataset.value}`);
      paint(cell, own, verdict, points, steps, moved);
      if (points !== null) comparable.add(cell.dataset.run);
      any ||= points !== null;
    }
    row.classList.toggle("bare", !any);
    const band = row.querySelector(".band");
    if (band) band.textContent = band.dataset.value = base.dataset.band === undefined ? "" : Number(base.dataset.band).toFixed(2);
  }
  const bare = [];
  for (const each of table.querySelectorAll("[data-run]")) {
    const run = each.dataset.run;
    each.classList.toggle("bare", !comparable.has(run));
    each.classList.toggle("aside", against !== "" && run !== against && run !== reference);
    if (each.tagName === "TH" && !comparable.has(run)) bare.push(`#${run}`);
  }
  byId("bare").textContent = bare.join(", ");
  byId("bare").parentElement.hidden = bare.length === 0;
  const notes = [...document.querySelectorAll(".noise")];
  const mine = notes.find((each) => each.dataset.reference === reference) ?? notes.at(-1);
  for (const each of notes) each.hidden = each !== mine;
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
for (const id of ["reference", "against"]) byId(id)?.addEventListener("change", compare);
byId("language").addEventListener("click", () => speak(root.lang === "en" ? "zh-Hans" : "en"));
byId("theme").addEventListener("change", (event) => {
  if (event.target.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = event.target.value;
});
window.addEventListener("hashchange", () => byId(decodeURIComponent(location.hash.slice(1)))?.closest("details")?.setAttribute("open", ""));
window.addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
filter(); // a browser may bring back what was typed before
