const stacked = 6; // columns from which a row is a block of its own on a phone, where each cell says what it is
for (const table of document.querySelectorAll("table")) table.querySelectorAll("thead th").forEach((head, column) => {
  if (table.tHead.rows[0].cells.length >= stacked && column) for (const body of table.tBodies) for (const row of body.rows)
    if (row.cells[column]) row.cells[column].dataset.label = head.textContent;
  head.tabIndex = 0; head.title = "sort";
  const sort = () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].textContent.trim();
    const size = text => parseFloat(text.replaceAll(",", "").replace("−", "-"));
    const order = (a, b) => isNaN(size(a)) || isNaN(size(b)) ? a.localeCompare(b) : size(a) - size(b);
    for (const body of table.tBodies) [...body.rows].filter(row => !row.querySelector("th[colspan]"))
      .sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach(row => body.append(row));
  };
  head.onclick = sort;
  head.onkeydown = event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } };
});
const unfold = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
addEventListener("hashchange", unfold); unfold();
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.zoom, .rest)").forEach(one => one.open = true));
