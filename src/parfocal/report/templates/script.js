"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const body = table.tBodies[0];
  const order = new Intl.Collator(undefined, { numeric: true });
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.classList.contains("n") ? Number(cell.dataset.value ?? NaN) : cell.textContent.trim();
  };
  const compare = (a, b) => (typeof a === "string" ? order.compare(a, b) : a - b);
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const falling = head.ariaSort === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const pairs = Array.from(body.rows, (row) => [key(row, column), row]);
    const known = pairs.filter((pair) => !Number.isNaN(pair[0]));
    const unknown = pairs.filter((pair) => Number.isNaN(pair[0]));
    known.sort((a, b) => (falling ? compare(b[0], a[0]) : compare(a[0], b[0])));
    for (const pair of known.concat(unknown)) body.append(pair[1]);
  }));
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
