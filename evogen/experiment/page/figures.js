// Draws the figures of the page from the numbers in #data, each when it first comes into view.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const DARK = ["#4aa8e8", "#ff8a3d", "#2fc49a", "#e39bc8", "#f5b93a", "#8ccbf5", "#f2f2f2"];
  const DASHES = ["solid", "dash", "dashdot", "dot"];
  const CSS_DASHES = ["solid", "dashed", "dashed", "dotted"];
  const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "x", "star"];
  const hidden = new Set();

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
  const color = (i) => (isDark() ? DARK : data.palette)[i % data.palette.length];
  const dash = (i) => DASHES[Math.floor(i / data.palette.length) % DASHES.length];
  const symbol = (i) => SYMBOLS[(i + Math.floor(i / SYMBOLS.length)) % SYMBOLS.length];
  const faint = (i, alpha) => {
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(color(i).slice(k, k + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  };
  // Plotly reads tags in texts; a label is only ever a text.
  const plain = (text) =>
    text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const name = (i) => plain(data.algorithms[i]);
  const shown = () => data.algorithms.map((_, i) => i).filter((i) => !hidden.has(i));
  const titleOf = (indicator) => data.indicators[indicator].title;
  const spans = (values) => {
    const known = values.flat().filter((v) => v !== null && v > 0);
    if (!known.length || values.flat().some((v) => v !== null && v <= 0)) return false;
    return known.reduce((a, b) => Math.max(a, b)) > 5 * known.reduce((a, b) => Math.min(a, b));
  };

  function layout(extra) {
    const axis = { gridcolor: css("--line"), zeroline: false, linecolor: css("--line"), automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: css("--ink"), size: 12, family: "system-ui, sans-serif" },
      margin: { l: 60, r: 12, t: 30, b: 48 },
      height: 400,
      hovermode: "closest",
      hoverlabel: { namelength: -1 },
      legend: { orientation: "v", x: 1.02, y: 1, font: { size: 11 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--link") },
      showlegend: true,
    };
    const made = { ...base, ...extra };
    for (const key of ["xaxis", "yaxis"]) {
      const given = made[key] || {};
      const ticks = given.type === "log" ? { tickformat: "~g" } : {};
      made[key] = { ...axis, ...ticks, ...given };
    }
    return made;
  }
  const titled = (text, more = {}) => ({ title: { text: plain(text) }, ...more });

  // Each kind of figure: (problem, choice) => { traces, layout }.
  const kinds = {
    convergence(problem, indicator) {
      const curves = problem.curves[indicator];
      const traces = [];
      for (const i of shown()) {
        const curve = curves?.[i];
        if (!curve) continue;
        const [x, low, median, high] = curve;
        const group = { legendgroup: String(i), name: name(i) };
        const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
        traces.push({ ...group, ...edge, y: low });
        traces.push({ ...group, ...edge, y: high, fill: "tonexty", fillcolor: faint(i, 0.16) });
        traces.push({ ...group, x, y: median, mode: "lines", line: { color: color(i), dash: dash(i), width: 2 } });
      }
      const values = traces.map((trace) => trace.y);
      const least = Math.min(...values.flat().filter((v) => v !== null));
      if (indicator === "igd" && problem.floor && problem.floor > least / 10) {
        const ends = traces.flatMap((trace) => trace.x);
        traces.push({
          x: [Math.min(...ends), Math.max(...ends)], y: [problem.floor, problem.floor],
          mode: "lines", name: "floor", line: { color: css("--soft"), dash: "dot", width: 1.2 },
        });
      }
      const type = spans(values) ? "log" : "linear";
      return { traces, layout: { xaxis: titled("evaluations"), yaxis: titled(titleOf(indicator), { type }) } };
    },

    finals(problem, indicator) {
      const traces = [];
      for (const i of shown()) {
        const values = problem.finals[indicator]?.[i];
        if (!values?.length) continue;
        traces.push({
          type: "box", y: values, name: name(i), boxpoints: "all", jitter: 0.5, pointpos: 0,
          marker: { color: color(i), size: 4, opacity: 0.75 }, line: { color: color(i), width: 1.3 },
          fillcolor: faint(i, 0.12), hoverinfo: "y+name",
        });
      }
      const type = spans(traces.map((trace) => trace.y)) ? "log" : "linear";
      return {
        traces,
        layout: { showlegend: false, xaxis: { type: "category" }, yaxis: titled(titleOf(indicator), { type }) },
      };
    },

    fronts(problem) {
      if (problem.n_obj > 3) return parallel(problem);
      const flat = problem.n_obj === 2;
      const set = (rows, more) => {
        const [x, y, z] = rows;
        return { x, y, ...(flat ? {} : { z }), type: flat ? "scatter" : "scatter3d", mode: "markers", ...more };
      };
      const traces = [];
      if (problem.front)
        traces.push(set(problem.front, { name: "true front", marker: { color: css("--soft"), size: flat ? 3 : 1.6, opacity: 0.55 }, hoverinfo: "skip" }));
      for (const i of shown()) {
        const found = problem.fronts[i];
        if (!found?.f[0].length) continue;
        const mark = { color: color(i), size: flat ? 6 : 4, symbol: flat ? symbol(i) : "circle", opacity: 0.85 };
        traces.push(set(found.f, {
          name: name(i), marker: mark, visible: problem.few.includes(i) ? true : "legendonly",
          hovertemplate: `${name(i)}, seed ${found.seed}<br>%{x:.4g}, %{y:.4g}${flat ? "" : ", %{z:.4g}"}<extra></extra>`,
        }));
      }
      const axis = { gridcolor: css("--line"), color: css("--ink"), backgroundcolor: "rgba(0,0,0,0)" };
      const scene = {
        xaxis: { ...axis, title: { text: "f1" } }, yaxis: { ...axis, title: { text: "f2" } },
        zaxis: { ...axis, title: { text: "f3" } }, camera: { eye: { x: 1.45, y: 1.45, z: 0.9 } },
      };
      return {
        traces,
        layout: flat ? { xaxis: titled("f1"), yaxis: titled("f2") } : { scene, height: 460, margin: { l: 0, r: 0, t: 20, b: 0 } },
      };
    },

    attainment(problem) {
      const shownHere = shown().filter((i) => problem.attainment[i]);
      const points = shownHere.flatMap((i) => Object.values(problem.attainment[i]));
      const right = Math.max(...points.flatMap((p) => p[0]));
      const top = Math.max(...points.flatMap((p) => p[1]));
      const traces = [];
      for (const i of shownHere)
        for (const [percent, [x, y]] of Object.entries(problem.attainment[i])) {
          const main = percent === "50";
          traces.push({
            // The surface goes on to the edges: nothing left of its first point is attained.
            x: [x[0], ...x, right], y: [top, ...y, y[y.length - 1]], mode: "lines",
            line: { shape: "hv", color: color(i), width: main ? 2 : 0.9, dash: main ? dash(i) : "dot" },
            name: name(i), legendgroup: String(i), showlegend: main,
            visible: problem.few.includes(i) ? true : "legendonly",
            hovertemplate: `${name(i)}: by ${percent} % of the runs<br>%{x:.4g}, %{y:.4g}<extra></extra>`,
          });
        }
      return { traces, layout: { xaxis: titled("f1"), yaxis: titled("f2") } };
    },

    profile(_, choice) {
      const profile = data.profiles[choice];
      const traces = shown().map((i) => ({
        x: profile.taus, y: profile.shares[i], mode: "lines", name: name(i),
        line: { shape: "hv", color: color(i), dash: dash(i), width: 2 },
      }));
      return {
        traces,
        layout: {
          xaxis: titled("at most so many times the least cost", { type: "log" }),
          yaxis: titled("share of problems", { range: [-0.02, 1.03] }),
        },
      };
    },

    runtime(_, choice) {
      const { n_eval, shares } = data.runtime;
      const traces = shown().map((i) => ({
        x: n_eval, y: shares[choice][i], mode: "lines", name: name(i),
        line: { shape: "hv", color: color(i), dash: dash(i), width: 2 },
      }));
      return {
        traces,
        layout: {
          xaxis: titled("evaluations", { type: "log" }),
          yaxis: titled("share of (run, target) pairs", { range: [-0.02, 1.03] }),
        },
      };
    },

    marks(_, indicator) {
      const { marks, tips } = data.marks[indicator];
      const columns = shown().filter((i) => i !== data.baseline);
      const value = { "+": 1, "=": 0, "-": -1 };
      const pick = (table) => table.map((row) => columns.map((i) => row[i]));
      const z = pick(marks).map((row) => row.map((mark) => value[mark] ?? null));
      const scale = isDark()
        ? [[0, "#a8431a"], [0.5, "#39414d"], [1, "#1f7a55"]]
        : [[0, "#e8915b"], [0.5, "#eceef1"], [1, "#5cb893"]];
      return {
        traces: [{
          type: "heatmap", z, x: columns.map(name), y: data.problems.map((p) => plain(p.label)),
          text: pick(marks).map((row) => row.map((mark) => (mark === "-" ? "\u2212" : mark))),
          texttemplate: "%{text}", customdata: pick(tips), zmin: -1, zmax: 1, xgap: 2, ygap: 2,
          colorscale: scale, showscale: false, hovertemplate: "%{y}, %{x}<br>%{customdata}<extra></extra>",
        }],
        layout: {
          showlegend: false, height: 135 + 22 * data.problems.length,
          margin: { l: 60, r: 12, t: 95, b: 12 },
          xaxis: { side: "top", type: "category", showgrid: false, tickangle: columns.length > 8 ? -40 : 0 },
          yaxis: { autorange: "reversed", type: "category", showgrid: false, dtick: 1 },
        },
      };
    },

    ranks(_, indicator) {
      const { mean, cd, groups, alpha } = data.ranks[indicator];
      const order = mean.map((_, i) => i).sort((a, b) => mean[a] - mean[b]);
      const half = Math.ceil(order.length / 2);
      const low = Math.floor(mean[order[0]]);
      const high = Math.ceil(mean[order[order.length - 1]]);
      const width = Math.max(high - low, 1);
      const line = (x0, y0, x1, y1, stroke, thick) => ({ type: "line", x0, y0, x1, y1, line: { color: stroke, width: thick } });
      const text = (x, y, words, xanchor, ink) => ({ x, y, text: words, xanchor, yanchor: "middle", showarrow: false, font: { color: ink } });
      const shapes = [line(low, 0, high, 0, css("--ink"), 1.5), line(low, 1.5, low + cd, 1.5, css("--ink"), 2.5)];
      const notes = [{ ...text(low, 2.2, `critical difference ${cd.toFixed(2)} (alpha ${alpha})`, "left", css("--ink")) }];
      for (let tick = low; tick <= high; tick++) {
        shapes.push(line(tick, 0, tick, 0.25, css("--ink"), 1.5));
        notes.push(text(tick, 0.65, String(tick), "center", css("--soft")));
      }
      const first = -0.9 - 0.35 * groups.length;
      groups.forEach((group, k) => {
        const ends = group.map((i) => mean[i]);
        const y = -0.5 - 0.35 * k;
        shapes.push(line(Math.min(...ends) - width / 150, y, Math.max(...ends) + width / 150, y, css("--soft"), 5));
      });
      const pad = width * 0.08;
      order.forEach((i, place) => {
        const left = place < half;
        const y = first - 0.8 * (left ? place : order.length - 1 - place);
        const end = left ? low - pad / 2 : high + pad / 2;
        shapes.push(line(mean[i], 0, mean[i], y, color(i), 1.5), line(mean[i], y, end, y, color(i), 1.5));
        const words = left ? `${name(i)}  <b>${mean[i].toFixed(2)}</b>` : `<b>${mean[i].toFixed(2)}</b>  ${name(i)}`;
        notes.push(text(end, y, words, left ? "right" : "left", css("--ink")));
      });
      const longest = Math.max(...data.algorithms.map((a) => a.length));
      const space = 50 + 7 * longest;
      const bottom = first - 0.8 * half;
      const bare = { visible: false, showgrid: false, fixedrange: true, automargin: false };
      const anchors = { x: mean, y: mean.map(() => 0), mode: "markers", marker: { size: 7, color: mean.map((_, i) => color(i)) } };
      return {
        traces: [{ ...anchors, text: data.algorithms.map((_, i) => `${name(i)}: ${mean[i].toFixed(2)}`), hoverinfo: "text" }],
        layout: {
          showlegend: false, shapes, annotations: notes, height: 50 + 27 * (2.6 - bottom),
          margin: { l: space, r: space, t: 10, b: 10 },
          xaxis: { ...bare, range: [low - pad, high + pad] }, yaxis: { ...bare, range: [bottom, 2.6] },
        },
      };
    },
  };

  function parallel(problem) {
    const sets = shown().map((i) => [i, problem.fronts[i]]).filter(([, found]) => found?.f[0].length);
    const all = [...sets.map(([, found]) => found.f), ...(problem.front ? [problem.front] : [])];
    const ranges = problem.fronts_range;
    const scaled = (k, v) => (v - ranges[k][0]) / (ranges[k][1] - ranges[k][0] || 1);
    const lines = (f) => {
      const x = [], y = [];
      for (let row = 0; row < f[0].length; row++) {
        f.forEach((column, k) => { x.push(`f${k + 1}`); y.push(scaled(k, column[row])); });
        x.push(null); y.push(null);
      }
      return { x, y };
    };
    const traces = problem.front
      ? [{ ...lines(problem.front), mode: "lines", name: "true front", line: { color: css("--soft"), width: 0.6 }, opacity: 0.5, hoverinfo: "skip" }]
      : [];
    for (const [i, found] of sets)
      traces.push({
        ...lines(found.f), mode: "lines", name: name(i), line: { color: color(i), width: 0.9 }, opacity: 0.6,
        visible: i === problem.best ? true : "legendonly", hoverinfo: "name",
      });
    return {
      traces: all.length ? traces : [],
      layout: { xaxis: { type: "category" }, yaxis: titled("scaled value", { range: [-0.03, 1.03] }) },
    };
  }

  function draw(figure) {
    const plot = figure.querySelector(".plot");
    const problem = data.problems[Number(figure.dataset.problem)];
    const made = kinds[figure.dataset.figure](problem, figure.dataset.choice);
    const narrow = figure.clientWidth < 520;
    const legend = narrow ? { legend: { orientation: "h", y: -0.2, font: { size: 11 } } } : {};
    Plotly.react(plot, made.traces, layout({ ...legend, ...made.layout }), {
      // Nothing leaves this page: no button that would upload a figure.
      responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: `${figure.dataset.figure}-${problem?.label ?? figure.dataset.choice}` },
    });
    figure.dataset.drawn = "yes";
  }

  const figures = [...document.querySelectorAll("figure[data-figure]")];
  const redraw = () => figures.filter((figure) => figure.dataset.drawn).forEach(draw);
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries)
        if (isIntersecting && !target.dataset.drawn) draw(target);
    },
    { rootMargin: "300px" },
  );
  figures.forEach((figure) => watcher.observe(figure));

  for (const choices of document.querySelectorAll(".choices")) {
    const buttons = [...choices.querySelectorAll("button")];
    buttons.forEach((button) =>
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        for (const figure of choices.closest("[data-choices]").querySelectorAll("figure[data-choice]")) {
          figure.dataset.choice = button.dataset.choice;
          if (figure.dataset.drawn) draw(figure);
        }
      }),
    );
  }

  const chips = document.querySelectorAll(".bar [data-algorithm]");
  const paint = () => {
    for (const chip of chips) {
      const i = Number(chip.dataset.algorithm);
      const swatch = chip.querySelector(".swatch");
      swatch.style.borderTopColor = color(i);
      swatch.style.borderTopStyle = CSS_DASHES[DASHES.indexOf(dash(i))];
    }
  };
  chips.forEach((chip) =>
    chip.addEventListener("click", () => {
      const i = Number(chip.dataset.algorithm);
      if (!hidden.delete(i)) hidden.add(i);
      chip.setAttribute("aria-pressed", String(!hidden.has(i)));
      redraw();
    }),
  );
  document.addEventListener("themechange", () => { paint(); redraw(); });
  paint();

  window.evogenReport = { drawAll: () => figures.forEach(draw), figures };
})();
