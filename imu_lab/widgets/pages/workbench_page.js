// The page of a workbench: sliders choose one of the answers that were worked out. Data: workbench_page.py.
const ROWS = 10, HEIGHTS = { curves: 250, influence: 270, intensity: 270 }, NONE = 255;

unpacked().then(start).catch(fail);

async function start({ words, arrays }) {
  const { examples, answers, ledgers, confidence, steps } = arrays, { sliders, columns } = words;
  const [, wide] = answers.shape, [, many, count] = ledgers.shape, updates = steps.length;
  const picture = pictures(words, arrays);
  const state = { at: sliders.map(each => each.start), chosen: null, sort: Math.max(0, columns.findIndex(({ name }) => name === "pressure")),
    up: false, page: 0 };

  const position = () => sliders.reduce((number, { values }, at) => number * values.length + state.at[at], 0);
  const answer = () => answers.subarray(position() * wide, (position() + 1) * wide);
  const runs = () => Array.from(answer().subarray(4));
  const value = (column, row, run = runs()[0]) => ledgers[(run * many + column) * count + row];

  // --- figures

  const names = ["curves", "influence", "intensity"], drawn = {};
  function layoutOf({ layout }, name) {
    const made = { template: words.template };
    for (const [path, held] of Object.entries(layout)) {
      const keys = path.split("."), last = keys.pop();
      let place = made;
      for (const key of keys) place = place[key] = { ...place[key] };
      place[last] = held;
    }
    return { ...made, title: { ...made.title, text: "" }, height: HEIGHTS[name], autosize: true, margin: { l: 58, r: 20, t: 22, b: 40 } };
  }
  function ring(figure) {
    if (state.chosen === null) return [];
    return figure.data.flatMap(trace => {
      const at = trace.mode === "markers" && trace.customdata ? trace.customdata.indexOf(examples[state.chosen]) : -1;
      return at < 0 ? [] : [{ type: "circle", xref: trace.xaxis ?? "x", yref: trace.yaxis ?? "y", xanchor: trace.x[at], yanchor: trace.y[at],
        xsizemode: "pixel", ysizemode: "pixel", x0: -8, x1: 8, y0: -8, y1: 8, line: { width: 2 } }];
    });
  }
  function draw(again = false) {
    names.forEach((name, at) => {
      const number = answer()[at], figure = words.figures[name][number];
      if (drawn[name] === number && !again) return;
      drawn[name] = number;
      const layout = layoutOf(figure, name), place = byId(name), told = figure.layout["title.text"] ?? "";
      if (name !== "curves") layout.shapes = [...(layout.shapes ?? []), ...ring(figure)];
      byId(`${name}-words`).innerHTML = told.replace(/(<span[^>]*>)(.*)<\/span>/s, (_, small, words) => `${small}${words.replaceAll("<br>", " ")}</span>`);
      place.setAttribute("aria-label", byId(`${name}-words`).textContent);
      Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false });
    });
  }

  // --- the ledger and the card

  function sorted() {
    const missing = row => Number.isNaN(value(state.sort, row));
    return Array.from({ length: count }, (_, row) => row).sort((one, other) => missing(one) - missing(other)
      || (value(state.sort, one) - value(state.sort, other)) * (state.up ? 1 : -1) || one - other);
  }
  function showLedger() {
    const list = sorted(), pages = Math.ceil(count / ROWS);
    if (state.page === null) state.page = Math.floor(list.indexOf(state.chosen) / ROWS);
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * ROWS, part = list.slice(from, from + ROWS);
    const head = columns.map(({ title, meaning }, at) => `<th class="${at === state.sort ? "imu-sorted" : ""}" title="${escaped(meaning)}"><button data-sort="${at}">${escaped(title)}${at === state.sort ? (state.up ? " ↑" : " ↓") : ""}</button></th>`).join("");
    byId("ledger").innerHTML = `<table><thead><tr><th></th><th>example</th><th class="imu-word">label</th>${head}</tr></thead><tbody>${part.map(row =>
      `<tr tabindex="${row === stopOf(part, state.chosen) ? 0 : -1}" data-row="${row}" class="${row === state.chosen ? "imu-chosen" : ""}"><td class="imu-word">${picture(row, 24)}</td><td>${examples[row]}</td><td class="imu-word">${escaped(words.labels[row])}</td>${columns.map(({ name }, at) =>
        `<td>${brief(tidy(value(at, row)), name)}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
    byId("rows").textContent = `${from + 1} to ${from + part.length} of ${count}`;
    byId("order").textContent = state.up ? "lowest first" : "highest first";
  }
  const tidy = held => Number(held.toPrecision(6));  // four bytes tell no more

  function showCard() {
    const row = state.chosen;
    if (row === null) return;
    const facts = columns.map(({ name, title, meaning }, at) => `<dt title="${escaped(meaning)}">${escaped(title)}</dt><dd>${brief(tidy(value(at, row)), name)}</dd>`).join("");
    const x = at => 22 + 230 * (steps[at] - steps[0]) / (steps[updates - 1] - steps[0] || 1), y = held => 6 + 70 * (1 - held / 254);
    const lines = runs().map((run, place) => {
      const held = confidence.subarray((run * count + row) * updates, (run * count + row + 1) * updates), [name, colour] = words.names[run];
      const points = Array.from(held, (each, at) => [x(at), y(each), each]).filter(each => each[2] !== NONE).map(each => `${each[0].toFixed(1)},${each[1].toFixed(1)}`);
      return `<polyline points="${points.join(" ")}" fill="none" stroke="${escaped(colour)}" stroke-width="2" stroke-dasharray="${place ? "4 3" : ""}"><title>${escaped(name)}</title></polyline>`;
    });
    byId("card").innerHTML = `<div class="imu-card-body">${picture(row, 112)}<div>${words.cards[examples[row]] ?? `<p>example ${examples[row]}</p>`}</div><dl>${facts}</dl>
      <svg role="img" aria-label="confidence by update" width="260" height="96"><path d="M22 6V76H252" fill="none" stroke="currentColor" stroke-opacity=".35"/><text x="17" y="13" text-anchor="end">1</text><text x="17" y="76" text-anchor="end">0</text>
      <text x="22" y="90">confidence in the label, by update</text><text x="252" y="90" text-anchor="end">${steps[updates - 1]}</text>${lines.join("")}</svg></div>`;
  }
  function choose(row) { state.chosen = row; state.page = null; draw(true); showCard(); showLedger() }

  // --- sliders

  let frame = null;
  function follow() {
    frame ??= requestAnimationFrame(() => { frame = null; draw(); byId("scores").innerHTML = words.scores[answer()[3]]; showCard(); showLedger() });
  }
  sliders.forEach(({ name, help, values, start: first }, at) => {
    const row = document.createElement("label");
    row.className = "slider"; row.title = help;
    row.innerHTML = `<span>${escaped(name)}</span><input type="range" min="0" max="${values.length - 1}" value="${first}" data-name="${escaped(name)}"><output>${escaped(values[first])}</output>`;
    row.querySelector("input").oninput = event => {
      state.at[at] = Number(event.target.value);
      row.querySelector("output").textContent = values[state.at[at]];
      event.target.setAttribute("aria-valuetext", values[state.at[at]]);
      follow();
    };
    byId("sliders").append(row);
  });

  const rowFrom = event => event.target.closest("tr[data-row]");
  byId("ledger").onclick = event => {
    const at = event.target.dataset?.sort;
    if (at !== undefined) { state.up = Number(at) === state.sort && !state.up; state.sort = Number(at); byId("sort").value = at; state.page = 0; showLedger() }
    else if (rowFrom(event)) choose(Number(rowFrom(event).dataset.row));
  };
  walkRows(byId("ledger"), choose);
  byId("sort").innerHTML = columns.map(({ title }, at) => `<option value="${at}">${escaped(title)}</option>`).join("");
  byId("sort").value = state.sort;
  byId("sort").onchange = event => { state.sort = Number(event.target.value); state.page = 0; showLedger() };
  byId("order").onclick = () => { state.up = !state.up; state.page = 0; showLedger() };
  byId("before").onclick = () => { state.page = Math.max(0, state.page - 1); showLedger() };
  byId("after").onclick = () => { state.page++; showLedger() };

  await bringPlotly();
  follow();
  draw();
  const rowOf = new Map(Array.from(examples, (example, row) => [example, row]));
  for (const name of names) byId(name).on("plotly_click", ({ points: [point] }) => { if (rowOf.has(point.customdata)) choose(rowOf.get(point.customdata)) });
  document.documentElement.dataset.ready = "yes";
}
