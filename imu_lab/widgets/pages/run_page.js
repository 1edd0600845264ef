// The page of a run: one selection and one chosen sample, followed by every view. Data: run_page.py and held.py.
const ROWS = 10, BARS = 30, NEAR = 12, PATHS = 1000, NO_SHARE = 65535, NO_MARGIN = -32768, NO_CLASS = 65535, TICK = 40;

unpacked().then(start).catch(fail);

function start({ words, arrays }) {
  const { examples, places, labels, order, steps, confidence, margin, predicted, lost, borders, values, bars } = arrays;
  const count = words.count, shown = examples.length, updates = steps.length;
  const rowOf = new Map(Array.from(examples, (example, row) => [example, row]));
  const picture = pictures(words, arrays);
  const state = { at: Math.max(0, steps.indexOf(words.first)), chosen: null, colour: words.colour_by,
    filters: new Map(), sort: words.columns.find(each => each.varies && each.name === "pressure") ? "pressure" : words.columns.find(each => each.varies)?.name, up: false, page: 0 };
  const isLive = name => words.live.some(each => each.name === name);
  const offered = words.columns.filter(({ varies }) => varies);  // the same value for all tells nobody from another
  const about = name => words.columns.find(each => each.name === name);

  // --- numbers

  const column = name => {
    const at = words.columns.findIndex(each => each.name === name);
    return at < 0 ? null : values.subarray(at * count, (at + 1) * count);
  };
  const confidenceAt = (row, at) => {
    const held = row < count ? confidence[row * updates + at] : NO_SHARE;
    return held === NO_SHARE ? NaN : held / (NO_SHARE - 1);
  };
  const marginAt = (row, at) => {
    const held = row < count && margin ? margin[row * updates + at] : NO_MARGIN;
    return held === NO_MARGIN ? NaN : held / 32766 * words.largest_margin;
  };
  const valueOf = (name, row) => name === "confidence" ? confidenceAt(row, state.at) : name === "margin"
    ? marginAt(row, state.at) : column(name)[row];
  const limits = name => {
    if (name === "margin" && isLive(name)) return [-words.largest_margin, words.largest_margin];
    if (isLive(name) || about(name).unit === "probability") return [0, 1];
    const known = Array.from(column(name)).filter(Number.isFinite), ends = [Math.min(...known), Math.max(...known)];
    return ends[1] > ends[0] ? ends : [ends[0] - 0.5, ends[0] + 0.5];
  };
  const passes = row => [...state.filters.values()].every(({ test }) => test(row));
  const selected = () => Array.from({ length: count }, (_, row) => row).filter(passes);

  // --- the map

  const [[left, low], [right, high]] = words.window, [wide, tall] = words.size;
  const spot = row => [(places[2 * row] - left) / (right - left) * wide, (high - places[2 * row + 1]) / (high - low) * tall];
  const spots = Array.from({ length: shown }, (_, row) => spot(row));
  const map = byId("map"), brush = map.getContext("2d");
  map.width = wide; map.height = tall; map.style.aspectRatio = `${wide} / ${tall}`;
  const areas = borders && document.createElement("canvas");
  if (areas) { areas.width = wide / 2; areas.height = tall / 2 }
  let outline = null, scale = [0, 1], mine = [], inside = new Uint8Array(count);  // the last two: the selection, as rows and flags
  const shades = [words.opacity.faint, 1].map(opacity => [...Array.from({ length: 256 }, (_, at) =>
    css(blend(words.dots, at / 255), opacity)), css(rgb(words.ink), opacity)]);  // not selected, selected; the last: no value

  const packedColour = ([red, green, blue], opacity) => (Math.round(255 * opacity) << 24 | blue << 16 | green << 8 | red) >>> 0;
  const fills = words.areas.map(each => packedColour(rgb(each), words.opacity.area)), edgeFill = packedColour(rgb(words.ink), 0.5);

  // The class with the largest logit at each point; logits are linear in the plane, so along a row they grow by equal steps.
  function drawAreas() {
    const classes = borders.shape[2], from = 3 * classes * state.at, { width, height } = areas;
    const paint = areas.getContext("2d"), sheet = paint.createImageData(width, height), into = new Uint32Array(sheet.data.buffer);
    const winners = new Uint16Array(width * height), logits = new Float64Array(classes), growth = new Float64Array(classes);
    const sums = new Float64Array(3 * classes), step = (right - left) / width;
    for (let each = 0; each < classes; each++) growth[each] = step * borders[from + classes + each];
    for (let y = 0; y < height; y++) {
      const up = high - (y + 0.5) / height * (high - low), across = left + step / 2;
      for (let each = 0; each < classes; each++)
        logits[each] = borders[from + each] + across * borders[from + classes + each] + up * borders[from + 2 * classes + each];
      for (let x = 0; x < width; x++) {
        let best = -Infinity, winner = 0;
        for (let each = 0; each < classes; each++) {
          if (logits[each] > best) { best = logits[each]; winner = each }
          logits[each] += growth[each];
        }
        winners[y * width + x] = winner;
        sums[3 * winner] += x; sums[3 * winner + 1] += y; sums[3 * winner + 2]++;
      }
    }
    for (let at = 0; at < winners.length; at++) {
      const ends = (at + 1) % width && winners[at + 1] !== winners[at] || at + width < winners.length && winners[at + width] !== winners[at];
      into[at] = ends ? edgeFill : fills[winners[at] % fills.length];
    }
    paint.putImageData(sheet, 0, 0);
    byId("names").innerHTML = namesOf(Array.from({ length: classes }, (_, each) => [each, ...sums.subarray(3 * each, 3 * each + 3)])
      .filter(([, , , size]) => size > words.name.area * winners.length).sort((one, other) => other[3] - one[3])
      .map(([each, x, y, size]) => [words.brief[each], x / size / width, y / size / height]));
  }

  // The larger areas have their names first; a name lies in the picture, and over no other.
  function namesOf(listed) {
    const across = map.clientWidth || wide, down = across * tall / wide, up = words.name.line / 2, kept = [];
    brush.font = `600 14px ${getComputedStyle(map).fontFamily}`;
    for (const [name, x, y] of listed) {
      const half = brush.measureText(name).width / 2 + 2, inside = (at, room, whole) => Math.min(Math.max(at * whole, room), Math.max(room, whole - room));
      const place = [inside(x, half, across), inside(y, up, down), half, name];
      if (kept.every(([left, top, other]) => Math.abs(left - place[0]) >= half + other || Math.abs(top - place[1]) >= 2 * up)) kept.push(place);
    }
    return kept.map(([left, top, , name]) => `<span style="left:${100 * left / across}%;top:${100 * top / down}%">${escaped(name)}</span>`).join("");
  }

  function dot([x, y], radius) { brush.beginPath(); brush.arc(x, y, radius, 0, 7); brush.fill() }

  function drawMap() {
    brush.clearRect(0, 0, wide, tall);
    if (areas) { drawAreas(); brush.imageSmoothingEnabled = true; brush.drawImage(areas, 0, 0, wide, tall) }
    let gone = 0;
    const ink = rgb(words.ink), crosses = [];
    brush.fillStyle = css(ink, words.opacity.kept);
    for (let row = count; row < shown; row++)
      if (lost[(row - count) * updates + state.at]) { gone++; crosses.push(spots[row]) } else dot(spots[row], 3);
    brush.strokeStyle = words.lost; brush.lineWidth = 2.5; brush.beginPath();
    for (const [x, y] of crosses) { brush.moveTo(x - 5, y - 5); brush.lineTo(x + 5, y + 5); brush.moveTo(x - 5, y + 5); brush.lineTo(x + 5, y - 5) }
    brush.stroke();
    const [from, to] = scale, size = count < 2000 ? 5.5 : 4;
    for (const isIn of [0, 1]) for (let row = 0; row < count; row++) {
      if (inside[row] !== isIn) continue;
      const value = valueOf(state.colour, row), shade = Math.round(255 * Math.min(1, Math.max(0, (value - from) / (to - from))));
      brush.fillStyle = shades[isIn][Number.isFinite(value) ? shade : 256];
      dot(spots[row], size);
    }
    if (state.chosen !== null) {
      brush.strokeStyle = "#D55E00"; brush.lineWidth = 3; brush.beginPath();
      brush.arc(...spots[state.chosen], 11, 0, 7); brush.stroke();
    }
    if (outline) { brush.strokeStyle = words.ink; brush.lineWidth = 1.5; brush.beginPath(); outline.forEach(each => brush.lineTo(...each)); brush.stroke() }
    const lostWords = gone ? ` Crosses mark the kept samples lost so far: ${gone.toLocaleString("en")}.` : "";
    byId("map-words").innerHTML = `After update ${steps[state.at]}<br><small>${areas ? "Each area shows the class that the model names there." : ""}${lostWords} Draw around samples to select them.</small>`;
    map.setAttribute("aria-label", `Map of ${shown} samples after update ${steps[state.at]}; ${mine.length} of ${count} forget samples are selected.${lostWords}`);
  }

  const ramp = stops => `<i style="background:linear-gradient(90deg, ${stops.map(([at, colour]) => `${colour} ${100 * at}%`).join(", ")})"></i>`;
  function showScale() {
    const name = state.colour, [from, to] = scale = limits(name), told = [...words.live, ...words.columns].find(each => each.name === name);
    byId("scale").innerHTML = `${brief(from, name)} ${ramp(words.dots)} ${brief(to, name)} · ${escaped(told.title)}${told.unit ? ` (${escaped(told.unit)})` : ""}; grey: kept samples, or no value`;
  }

  const onMap = event => { const box = map.getBoundingClientRect(); return [(event.clientX - box.left) / box.width * wide, (event.clientY - box.top) / box.height * tall] };
  const nearest = ([x, y]) => {
    let best = null, least = NEAR ** 2;
    for (let row = 0; row < shown; row++) {
      const away = (spots[row][0] - x) ** 2 + (spots[row][1] - y) ** 2;
      if (away < least) { least = away; best = row }
    }
    return best;
  };
  map.onpointerdown = event => { map.setPointerCapture(event.pointerId); outline = [onMap(event)] };
  map.onpointermove = event => {
    if (!outline) return hover(event);
    outline.push(onMap(event));
    drawMap();
  };
  map.onpointerup = event => {
    const drawn = outline, [first] = drawn ?? [[0, 0]], moved = drawn?.some(([x, y]) => Math.hypot(x - first[0], y - first[1]) > 8);
    outline = null;
    if (moved) lasso(drawn); else { const row = nearest(onMap(event)); if (row !== null) choose(row) }
  };
  map.onpointerleave = () => { byId("tip").hidden = true };
  map.ondblclick = showAll;

  function hover(event) {
    const row = nearest(onMap(event)), tip = byId("tip");
    tip.hidden = row === null;
    if (row === null) return;
    tip.innerHTML = `${picture(row, 48)} example ${examples[row]}<br>${escaped(labelOf(row))} · ${row < count ? "forget" : "kept"}`;
    tip.style.left = `${100 * spots[row][0] / wide}%`; tip.style.top = `calc(${100 * spots[row][1] / tall}% + 14px)`;
  }
  const labelOf = row => { const label = words.labels[labels[row]]; return /^\d+$/.test(label) ? `class ${label}` : label };

  function lasso(corners) {
    const within = row => {
      const [x, y] = spots[row];
      return corners.reduce((inside, [x0, y0], at) => {
        const [x1, y1] = corners[(at + 1) % corners.length];
        return (y0 > y) !== (y1 > y) && x < x0 + (y - y0) * (x1 - x0) / (y1 - y0) ? !inside : inside;
      }, false);
    };
    const inside = new Set(Array.from({ length: count }, (_, row) => row).filter(within));
    if (inside.size) filter("lasso", { words: `drawn around: ${inside.size}`, test: row => inside.has(row) }); else drawMap();
  }

  // --- the trajectories: a heat map, one row a sample, the first forgotten at the bottom

  const paths = byId("paths"), pen = paths.getContext("2d"), [heat, backdrop] = ["heat", "backdrop"].map(() => document.createElement("canvas"));
  paths.width = backdrop.width = wide; paths.height = backdrop.height = tall; paths.style.aspectRatio = `${wide} / ${tall}`;
  let rows = [], pressed = null, pulled = null;
  const edges = updates === 1 ? [steps[0] - 0.5, steps[0] + 0.5] : Array.from({ length: updates + 1 }, (_, at) => at === 0 ? steps[0]
    : at === updates ? steps[updates - 1] : (steps[at - 1] + steps[at]) / 2);
  const acrossOf = step => (step - edges[0]) / (edges[updates] - edges[0] || 1) * wide;

  function sortPaths() {
    const sorted = Array.from(order).filter(row => inside[row]), every = Math.max(1, sorted.length / PATHS);
    rows = sorted.filter((_, at) => Math.floor(at / every) !== Math.floor((at - 1) / every)).reverse();
    heat.width = updates; heat.height = Math.max(1, rows.length);
    const sheet = pen.createImageData(heat.width, heat.height);
    const shades = Array.from({ length: 256 }, (_, at) => blend(words.dots, at / 255));
    rows.forEach((row, y) => { for (let at = 0; at < updates; at++) {
      const value = confidenceAt(row, at);
      if (Number.isFinite(value)) sheet.data.set([...shades[Math.round(255 * value)], 255], 4 * (y * updates + at));
    } });
    heat.getContext("2d").putImageData(sheet, 0, 0);
    const times = column("time_to_forget"), never = times && mine.filter(row => Number.isNaN(times[row])).length;
    const wrong = times && mine.filter(row => times[row] === 0).length, early = wrong ? ` (${wrong} wrong from the start)` : "";
    const gone = times ? `${mine.length - never} of ${mine.length} samples forgotten${early}, ${never} never` : `${mine.length} samples`;
    const part = rows.length < mine.length ? ` ${rows.length} evenly spaced rows of ${mine.length}.` : "";
    drawHeat();
    byId("paths-words").innerHTML = `${gone}<br><small>One row a sample, ${times ? "the first forgotten at the bottom; white line: when for good" : "sorted by the mean; this run does not tell when each was forgotten"}. From update ${steps[0]} at the left to ${steps[updates - 1]} at the right.${words.limit === null ? "" : " Grey: kept accuracy down 5 points."}${part}</small>`;
    paths.setAttribute("aria-label", `Confidence of each sample after each update: ${gone}.`);
  }

  // All that is the same at every update, in the canvas's own size.
  function drawHeat() {
    const still = backdrop.getContext("2d"), each = tall / Math.max(1, rows.length), times = column("time_to_forget");
    still.clearRect(0, 0, wide, tall);
    still.imageSmoothingEnabled = false;
    for (let at = 0; at < updates; at++)  // cells are as wide as the time between updates
      still.drawImage(heat, at, 0, 1, heat.height, acrossOf(edges[at]), 0, acrossOf(edges[at + 1]) - acrossOf(edges[at]) + 0.5, tall);
    if (words.limit !== null) { still.fillStyle = "rgba(190, 190, 190, .6)"; still.fillRect(acrossOf(words.limit), 0, wide, tall) }
    still.strokeStyle = "#fff"; still.lineWidth = 3; still.beginPath();
    if (times) rows.forEach((row, y) => {
      if (Number.isNaN(times[row])) return;
      const x = acrossOf(edges[Math.max(0, steps.findIndex(step => step >= times[row]))]);
      still.moveTo(x, y * each); still.lineTo(x, (y + 1) * each);
    });
    still.stroke();
  }

  function drawPaths() {
    pen.clearRect(0, 0, wide, tall);
    if (!rows.length) return;
    pen.drawImage(backdrop, 0, 0);
    pen.fillStyle = "#D55E00"; pen.fillRect(acrossOf(steps[state.at]) - 1.5, 0, 3, tall);
    const at = (rows.indexOf(state.chosen) + 0.5) / rows.length * tall;
    if (at > 0) { pen.strokeStyle = "#D55E00"; pen.lineWidth = 3; pen.setLineDash([6, 4]); pen.beginPath(); pen.moveTo(0, at); pen.lineTo(wide, at); pen.stroke(); pen.setLineDash([]) }
    if (pulled) { pen.fillStyle = "rgba(0, 114, 178, .3)"; pen.fillRect(0, Math.min(...pulled), wide, Math.abs(pulled[1] - pulled[0])) }
  }
  const onPaths = event => { const box = paths.getBoundingClientRect(); return Math.min(tall - 0.01, Math.max(0, (event.clientY - box.top) / box.height * tall)) };
  paths.onpointerdown = event => { paths.setPointerCapture(event.pointerId); pressed = onPaths(event) };
  paths.onpointermove = event => {
    if (pressed === null) return;
    pulled = [pressed, onPaths(event)];
    drawPaths();
  };
  paths.onpointerup = event => {
    const ends = [pressed ?? 0, onPaths(event)].map(y => Math.floor(y / tall * rows.length)).sort((one, other) => one - other);
    const dragged = pulled && Math.abs(pulled[1] - pulled[0]) > 8;
    pressed = pulled = null;
    if (!rows.length) return;
    if (!dragged) return choose(rows[ends[1]]);
    const inside = new Set(rows.slice(ends[0], ends[1] + 1));
    filter("rows", { words: `rows of the trajectories: ${inside.size}`, test: row => inside.has(row) });
  };
  paths.ondblclick = showAll;

  // --- histograms

  const histograms = new Map();
  function histogram(name) {
    const told = about(name), at = words.columns.indexOf(told), bar = bars.subarray(at * count, (at + 1) * count);
    const ends = words.bars[at], known = ends.filter(each => each !== null), box = document.createElement("div");
    const [from, to] = [known[0][0], known.at(-1)[1]], counts = new Array(ends.length).fill(0);
    for (const each of bar) counts[each]++;
    box.className = "imu-histogram";
    box.innerHTML = `<p><span title="${escaped(told.meaning)}">${escaped(told.title)}</span><button aria-label="Remove this histogram">×</button></p>
      <div></div><p class="imu-note"><span>${brief(from, name)}</span><span>${brief(to, name)}${known.length < ends.length ? " | none" : ""}</span></p>`;
    let span = null;
    const said = () => {
      const part = ends.slice(span[0], span[1] + 1), inside = part.filter(each => each !== null);
      const low = inside[0]?.[0], high = inside.at(-1)?.[1];
      const range = !inside.length ? [] : [low === high ? brief(low, name) : `${brief(low, name)} to ${brief(high, name)}`];
      return [...range, ...(inside.length < part.length ? ["none"] : [])].join(" or ");
    };
    const marked = given => {
      if (!given) return drop(name);
      span = given;
      filter(name, { words: `${told.title} ${said()}`, test: row => bar[row] >= span[0] && bar[row] <= span[1], clear: () => { span = null } });
    };
    const label = `Histogram of ${told.title}, from ${brief(from, name)} to ${brief(to, name)}`;
    const drawing = brushable(box.querySelector("div"), { counts, label, marked });
    histograms.set(name, () => {
      const now = new Array(ends.length).fill(0);
      for (const row of mine) now[bar[row]]++;
      drawing.show(now, span);
    });
    box.querySelector("button").onclick = () => { histograms.delete(name); box.remove(); drop(name) };
    byId("histograms").append(box);
    histograms.get(name)();
  }

  // --- selecting and choosing

  function filter(name, held) { state.filters.set(name, held); state.page = 0; follow() }
  function drop(name) { state.filters.get(name)?.clear?.(); state.filters.delete(name); follow() }
  function showAll() { for (const held of state.filters.values()) held.clear?.(); state.filters.clear(); follow() }

  function follow() {
    mine = selected();
    inside = Uint8Array.from({ length: count }, () => 0);
    for (const row of mine) inside[row] = 1;
    byId("count").textContent = `${mine.length.toLocaleString("en")} of ${count.toLocaleString("en")} forget samples`;
    byId("filters").replaceChildren(...[...state.filters].map(([name, held]) => Object.assign(document.createElement("button"),
      { className: "chip", textContent: `${held.words} ×`, onclick: () => drop(name) })));
    byId("ids").value = mine.map(row => examples[row]).join(", ");
    for (const draw of histograms.values()) draw();
    sortPaths(); drawMap(); drawPaths(); showLedger();
  }

  function choose(row) { state.chosen = row; state.page = null; drawMap(); drawPaths(); showCard(); showLedger() }

  function showCard() {
    const row = state.chosen;
    if (row === null) return;
    const own = words.cards[examples[row]] ?? `<p>example ${examples[row]}, ${escaped(labelOf(row))}</p>`;
    const facts = row < count ? words.ledger.map(name => `<dt title="${escaped(about(name).meaning)}">${escaped(about(name).title)}</dt><dd>${brief(column(name)[row], name)}</dd>`).join("") : "";
    const line = row < count ? confidenceLine(row) : "<p class='imu-note'>a kept sample</p>";
    byId("card").innerHTML = `<div class="imu-card-body">${picture(row, 112)}<div>${own}</div><dl>${facts}</dl>${line}</div>`;
    const answer = at => [predicted[row * updates + at] === NO_CLASS ? null : words.classes[predicted[row * updates + at]], confidenceAt(row, at), marginAt(row, at)];
    const cells = [0, state.at].map(at => [steps[at], ...answer(at)]);
    byId("answers").innerHTML = `<table><tr><th></th><th>answer</th><th>confidence</th><th>margin</th></tr>${cells.map(([step, name, sure, apart]) =>
      `<tr><td class="imu-word">after update ${step}</td><td class="${name?.length > 12 ? "imu-long" : ""}">${name === null ? "–" : escaped(name)}</td><td>${brief(sure, "confidence")}</td><td>${brief(apart)}</td></tr>`).join("")}</table>`;
  }

  function confidenceLine(row) {
    const x = at => 22 + 230 * (steps[at] - steps[0]) / (steps[updates - 1] - steps[0] || 1), y = value => 6 + 70 * (1 - value);
    const points = Array.from(steps, (_, at) => [x(at), y(confidenceAt(row, at))]).filter(([, up]) => Number.isFinite(up)).map(each => each.map(value => value.toFixed(1)).join()).join(" ");
    return `<svg role="img" aria-label="confidence by update" width="260" height="96"><path d="M22 6V76H252" fill="none" stroke="currentColor" stroke-opacity=".35"/>
      <text x="17" y="13" text-anchor="end">1</text><text x="17" y="76" text-anchor="end">0</text><text x="22" y="90">confidence in the label, by update</text><text x="252" y="90" text-anchor="end">${steps[updates - 1]}</text>
      <polyline points="${points}" fill="none" stroke="${words.line}" stroke-width="2"/><path d="M${x(state.at)} 6V76" stroke="#D55E00"/></svg>`;
  }

  // --- the ledger

  function sorted() {
    const by = state.sort && column(state.sort), missing = row => Number.isNaN(by[row]);
    return by ? [...mine].sort((one, other) => missing(one) - missing(other) || (state.up ? by[one] - by[other] : by[other] - by[one]) || one - other) : mine;
  }

  function showLedger() {
    const list = sorted(), pages = Math.max(1, Math.ceil(list.length / ROWS));
    if (state.page === null) state.page = Math.max(0, Math.floor(list.indexOf(state.chosen) / ROWS));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * ROWS, part = list.slice(from, from + ROWS);
    const names = [...new Set([state.sort, ...words.ledger].filter(Boolean))];
    const head = names.map(name => `<th class="${name === state.sort ? "imu-sorted" : ""}" title="${escaped(about(name).meaning)}"><button data-sort="${escaped(name)}">${escaped(about(name).title)}${name === state.sort ? (state.up ? " ↑" : " ↓") : ""}</button></th>`).join("");
    byId("ledger").innerHTML = `<table><thead><tr><th></th><th>example</th><th class="imu-word">label</th>${head}</tr></thead><tbody>${part.map(row =>
      `<tr tabindex="${row === stopOf(part, state.chosen) ? 0 : -1}" data-row="${row}" class="${row === state.chosen ? "imu-chosen" : ""}"><td class="imu-word">${picture(row, 24)}</td><td>${examples[row]}</td><td class="imu-word">${escaped(words.labels[labels[row]])}</td>${names.map(name =>
        `<td>${brief(column(name)[row], name)}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
    byId("rows").textContent = mine.length ? `${from + 1} to ${from + part.length} of ${mine.length.toLocaleString("en")}` : "no sample passes all filters; click one of them above to take it away";
    byId("order").textContent = state.up ? "lowest first" : "highest first";
  }
  const rowFrom = event => event.target.closest("tr[data-row]");
  byId("ledger").onclick = event => {
    const name = event.target.dataset?.sort, row = rowFrom(event);
    if (name) { state.up = name === state.sort && !state.up; state.sort = byId("sort").value = name; state.page = 0; showLedger() }
    else if (row) choose(Number(row.dataset.row));
  };
  walkRows(byId("ledger"), choose);

  // On the map and the trajectories the arrow keys go through the samples of the selection.
  for (const canvas of [map, paths]) canvas.onkeydown = event => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], list = sorted();
    if (!by || !list.length) return;
    event.preventDefault();
    const at = list.indexOf(state.chosen);
    choose(list[at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length]);
  };

  // --- going through the updates

  let frame = null, playing = null, later = null;
  function goTo(at) {
    state.at = Math.min(updates - 1, Math.max(0, at));
    byId("step").value = state.at;
    byId("step-now").textContent = `${steps[state.at]} of ${steps[updates - 1]}`;
    frame ??= requestAnimationFrame(() => { frame = null; drawMap(); drawPaths(); showCard() });
    clearTimeout(later);
    later = setTimeout(markCurves, 150);
  }
  function play() {
    const stop = () => { clearInterval(playing); playing = null; byId("play").textContent = "▶" };
    if (playing) return stop();
    if (state.at === updates - 1) goTo(0);
    byId("play").textContent = "❚❚";
    playing = setInterval(() => state.at === updates - 1 ? stop() : goTo(state.at + 1), TICK);
  }

  // --- the curves, by plotly

  let curves = null;
  async function drawCurves() {
    const place = byId("curves");
    if (!words.curves) { place.textContent = "This run recorded no curves."; return }
    await bringPlotly();
    const { data, layout } = words.curves;
    byId("curves-words").innerHTML = layout.title?.text ?? "";
    place.setAttribute("aria-label", byId("curves-words").textContent);
    await Plotly.newPlot(place, data, { ...layout, title: {}, autosize: true, height: 340, margin: { ...layout.margin, t: 20 } }, { responsive: true, displayModeBar: false });
    curves = layout.shapes ?? [];
    markCurves();
  }
  function markCurves() {
    if (curves) Plotly.relayout(byId("curves"), { shapes: [...curves, { type: "line", xref: "x", yref: "paper", x0: steps[state.at], x1: steps[state.at], y0: 0, y1: 1, line: { color: "#D55E00", width: 1.5 } }] });
  }

  // --- controls

  const offer = (id, options, value) => {
    byId(id).innerHTML = options.map(({ name, title }) => `<option value="${escaped(name)}">${escaped(title)}</option>`).join("");
    byId(id).value = value;
  };
  const colours = [...words.live, ...offered.filter(({ name }) => !isLive(name))];
  if (!colours.some(({ name }) => name === state.colour)) state.colour = colours[0].name;
  offer("colour", colours, state.colour);
  offer("sort", offered, state.sort);
  offer("column", offered, offered[0]?.name);
  byId("step").max = updates - 1;
  byId("step").oninput = event => goTo(Number(event.target.value));
  byId("play").onclick = play;
  byId("colour").onchange = event => { state.colour = event.target.value; showScale(); drawMap() };
  byId("sort").onchange = event => { state.sort = event.target.value; state.page = 0; showLedger() };
  byId("order").onclick = () => { state.up = !state.up; state.page = 0; showLedger() };
  byId("before").onclick = () => { state.page = Math.max(0, state.page - 1); showLedger() };
  byId("after").onclick = () => { state.page++; showLedger() };
  byId("all").onclick = showAll;
  byId("add").onclick = () => { const name = byId("column").value; if (name && !histograms.has(name)) histogram(name) };
  byId("copy").onclick = () => { byId("ids").select(); (navigator.clipboard?.writeText(byId("ids").value) ?? Promise.reject()).catch(() => document.execCommand("copy")) };
  byId("paths-scale").innerHTML = `0 ${ramp(words.dots)} 1 · confidence; the orange line stands at the update on view. Drag over rows to select them.`;

  for (const name of ["time_to_forget", "confidence_before", "pressure"]) if (about(name)?.varies) histogram(name);
  if (words.selected) { const given = new Set(words.selected.map(each => rowOf.get(each))); state.filters.set("lasso", { words: "as saved", test: row => given.has(row) }) }
  showScale();
  follow();
  goTo(state.at);
  if (rowOf.has(words.chosen)) choose(rowOf.get(words.chosen));
  drawCurves().catch(fail);
  document.documentElement.dataset.ready = "yes";
}
