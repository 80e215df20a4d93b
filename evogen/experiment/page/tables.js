// Sortable tables and the choice between light and dark. Needs nothing else.
(() => {
  "use strict";

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.v;
    return number === undefined ? null : number === "inf" ? Infinity : Number(number);
  };

  const compareTexts = new Intl.Collator(undefined, { numeric: true }).compare;

  function sort(table, column, ascending) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const numeric = rows.some((row) => valueOf(row, column) !== null);
    rows.sort((one, two) => {
      if (!numeric) {
        const order = compareTexts(one.cells[column].textContent, two.cells[column].textContent);
        return ascending ? order : -order;
      }
      const a = valueOf(one, column);
      const b = valueOf(two, column);
      // Fields without a number stay at the end, whichever way.
      if (a === null || b === null) return (a === null) - (b === null);
      if (a === b) return 0;
      return (a < b) === ascending ? -1 : 1;
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending);
      });
    });
  }

  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  theme?.addEventListener("click", () => {
    const now = themes[(themes.indexOf(theme.dataset.now || "auto") + 1) % themes.length];
    theme.dataset.now = now;
    theme.textContent = `theme: ${now}`;
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    document.dispatchEvent(new Event("themechange"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("themechange")),
  );
})();
