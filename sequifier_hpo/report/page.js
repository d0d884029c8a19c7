"use strict";
(function () {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Charts: colours are tokens (@point) that stand for the CSS variables of the current theme.
  function themed(value, style) {
    if (typeof value === "string") {
      return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() || value : value;
    }
    if (Array.isArray(value)) return value.length && typeof value[0] === "number" ? value : value.map((v) => themed(v, style));
    if (value && typeof value === "object") {
      const copy = {};
      for (const key of Object.keys(value)) copy[key] = key === "text" || key === "ticktext" ? value[key] : themed(value[key], style);
      if (value.text && typeof value.text === "object" && !Array.isArray(value.text)) copy.text = themed(value.text, style);
      return copy;
    }
    return value;
  }

  function draw(name) {
    const style = getComputedStyle(document.documentElement);
    const figure = report.charts[name];
    const layout = themed(figure.layout, style);
    layout.font.family = getComputedStyle(document.body).fontFamily;
    layout.height = figure.height;
    layout.hoverlabel.bordercolor = style.getPropertyValue("--grid").trim();
    return Plotly.react(name, themed(figure.data, style), layout, {
      responsive: true,
      displaylogo: false,
      // On a narrow screen the buttons would lie on the legend.
      displayModeBar: figure.is_small || window.innerWidth < 700 ? false : "hover",
      // The last two, of newer and of older releases, would send the chart to a server.
      modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "sendChartToCloud", "sendDataToCloud"],
    });
  }

  function pickOutCurves() {
    const chart = document.getElementById("curves");
    if (!chart || !chart.on) return;
    chart.on("plotly_hover", function (event) {
      const point = event.points[0];
      const trace = point.data;
      if (!trace.customdata) return;
      const pointer = chart.data.findIndex((other) => other.meta === "pointer");
      let first = point.pointNumber;
      let last = first;
      while (first > 0 && trace.x[first - 1] !== null) first -= 1;
      while (last + 1 < trace.x.length && trace.x[last + 1] !== null) last += 1;
      Plotly.restyle(chart, { x: [trace.x.slice(first, last + 1)], y: [trace.y.slice(first, last + 1)] }, [pointer]);
    });
    chart.on("plotly_unhover", function () {
      Plotly.restyle(chart, { x: [[]], y: [[]] }, [chart.data.findIndex((other) => other.meta === "pointer")]);
    });
  }

  // One chart after the other, so that the page answers while the later ones are drawn.
  const names = Object.keys(report.charts);
  function drawFrom(i) {
    if (i >= names.length) {
      document.documentElement.dataset.ready = "yes";
      return;
    }
    draw(names[i]);
    if (names[i] === "curves") pickOutCurves();
    setTimeout(() => drawFrom(i + 1), 0);
  }
  drawFrom(0);
  dark.addEventListener("change", () => names.forEach(draw));

  // The table of runs.
  const table = document.getElementById("runs");
  if (table) {
    const { columns, rows } = report.table;
    const numeric = columns.map((_, c) => rows.every((row) => row[c] === null || row[c] === undefined || typeof row[c] === "number"));
    const search = rows.map((row) => row.join(" ").toLowerCase());
    const filter = document.getElementById("filter");
    const more = document.getElementById("more");
    const FEW = 50;
    let sorted = { column: 0, up: true };
    let showAll = rows.length <= FEW + 10;

    function shown(value, c) {
      if (value === null || value === undefined) return "";
      if (typeof value !== "number") return String(value);
      if (Number.isInteger(value)) return c < 2 ? String(value) : value.toLocaleString("en");
      return Math.abs(value) >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(6)));
    }

    function order() {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kept = rows.map((_, i) => i).filter((i) => words.every((word) => search[i].includes(word)));
      const c = sorted.column;
      const sign = sorted.up ? 1 : -1;
      return kept.sort(function (i, j) {
        const a = rows[i][c];
        const b = rows[j][c];
        const noA = a === null || a === undefined || a === "";
        const noB = b === null || b === undefined || b === "";
        if (noA || noB) return noA - noB || i - j; // what is missing comes last, either way
        if (numeric[c]) return sign * (a - b) || i - j;
        return sign * String(a).localeCompare(String(b), "en", { numeric: true }) || i - j;
      });
    }

    const head = table.createTHead().insertRow();
    columns.forEach(function (name, c) {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", function () {
        sorted = { column: c, up: sorted.column === c ? !sorted.up : true };
        fill();
      });
      if (numeric[c]) cell.className = "number";
      cell.append(button);
      head.append(cell);
    });
    const body = table.createTBody();

    function fill() {
      const found = order();
      const visible = showAll ? found : found.slice(0, FEW);
      const made = visible.map(function (i) {
        const line = document.createElement("tr");
        line.className = rows[i][0] === 1 ? "best" : rows[i][2];
        rows[i].forEach(function (value, c) {
          const cell = document.createElement("td");
          cell.textContent = shown(value, c);
          if (numeric[c]) cell.className = "number";
          if (value !== null && value !== undefined) cell.title = String(value);
          line.append(cell);
        });
        return line;
      });
      body.replaceChildren(...made);
      [...head.cells].forEach(function (cell, c) {
        cell.setAttribute("aria-sort", c !== sorted.column ? "none" : sorted.up ? "ascending" : "descending");
        cell.firstChild.textContent = columns[c] + (c !== sorted.column ? "" : sorted.up ? " ▲" : " ▼");
      });
      more.hidden = visible.length === found.length;
      more.textContent = "show all " + found.length.toLocaleString("en");
      document.getElementById("count").textContent = found.length === rows.length ? "" : found.length + " of " + rows.length;
    }
    filter.addEventListener("input", fill);
    more.addEventListener("click", function () {
      showAll = true;
      fill();
    });
    fill();
  }

  // A search that runs writes this file again and again: a reader who only looks sees the newest.
  if (report.isRunning) {
    const follow = setInterval(() => location.reload(), 30000);
    // A click or a key is work on the page: a filter, a zoom, a text marked to be copied.
    for (const use of ["pointerdown", "keydown"]) addEventListener(use, () => clearInterval(follow));
  }

  // The best run's file.
  const copy = document.getElementById("copy");
  if (copy) {
    copy.addEventListener("click", async function () {
      const text = document.getElementById("best-yaml");
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch (error) {
        getSelection().selectAllChildren(text);
        document.execCommand("copy");
        getSelection().removeAllRanges();
      }
      copy.textContent = "copied";
      setTimeout(() => (copy.textContent = "copy"), 1500);
    });
  }
})();
