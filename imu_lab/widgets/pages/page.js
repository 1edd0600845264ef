// What pages share: unpacking the block of data, bringing plotly in, and small helpers. See page.py for the format.
"use strict";

const byId = id => document.getElementById(id);

async function unsqueezed(id) {
  if (!window.DecompressionStream) throw new Error("this page needs a browser of 2023 or later");
  const letters = atob(byId(id).textContent), bytes = Uint8Array.from(letters, letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return await new Response(stream).arrayBuffer();
}

const KINDS = { float32: Float32Array, float64: Float64Array, int16: Int16Array, int32: Int32Array, uint8: Uint8Array,
  uint16: Uint16Array };

async function unpacked() {
  const block = await unsqueezed("imu-data"), length = new DataView(block).getUint32(0, true);
  const words = JSON.parse(new TextDecoder().decode(new Uint8Array(block, 4, length))), arrays = {};
  for (const [name, { at, kind, shape, bytes }] of Object.entries(words.arrays)) {
    const values = new KINDS[kind](block, 4 + length + at, bytes / KINDS[kind].BYTES_PER_ELEMENT);
    arrays[name] = Object.assign(values, { shape });
  }
  return { words, arrays };
}

async function bringPlotly() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await unsqueezed("imu-plotly"));
  document.head.append(script);
  byId("imu-plotly").remove();
}

const escaped = words => String(words).replace(/[&<>"']/g, letter => `&#${letter.charCodeAt(0)};`);

// A number in few characters, as tables.number writes it.
function brief(value, name = "") {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (name.startsWith("confidence")) return value.toFixed(3);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const short = Number(value.toPrecision(3));
  const words = Math.abs(short) >= 1e5 || (short && Math.abs(short) < 1e-4) ? short.toExponential() : String(short);
  return words.replace("-", "−");
}

// The rows of a table are one stop of Tab, at the chosen one where it is shown; arrow keys go from one to another, and Enter
// chooses. The table is drawn anew by that, so the new row takes the focus.
const stopOf = (rows, chosen) => rows.includes(chosen) ? chosen : rows[0];
function walkRows(table, choose) {
  table.onkeydown = event => {
    const row = event.target.closest("tr[data-row]");
    if (!row) return;
    const to = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: row.parentElement.firstElementChild,
      End: row.parentElement.lastElementChild }[event.key];
    if (event.key === "Enter") { choose(Number(row.dataset.row)); table.querySelector(`tr[data-row="${row.dataset.row}"]`)?.focus() }
    if (to === undefined) return;
    event.preventDefault();
    if (to) { row.tabIndex = -1; to.tabIndex = 0; to.focus() }
  };
}

const rgb = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));

// The colour of a share of a scale of [share, "#rrggbb"], as [red, green, blue].
function blend(stops, share) {
  share = Math.min(1, Math.max(0, share));
  const next = Math.max(1, stops.findIndex(([at]) => at >= share));
  const [[from, low], [to, high]] = [stops[next - 1], stops[next]], part = (share - from) / (to - from || 1);
  return rgb(low).map((value, at) => Math.round(value + part * (rgb(high)[at] - value)));
}

const css = ([red, green, blue], opacity = 1) => `rgba(${red}, ${green}, ${blue}, ${opacity})`;

function fail(error) {
  const place = byId("trouble");
  place.textContent = `This page could not be drawn: ${error.message}.`;
  place.hidden = false;
  throw error;
}

// A function from a row and a height in pixels to HTML of its picture, cut out of a sheet; "" where there is none.
function pictures(words, arrays) {
  if (!words.sprites) return () => "";
  const { kind, width, height, across } = words.sprites, each = across * across;
  const at = new Map(Array.from(arrays.pictured, (example, place) => [example, place]));
  const sheets = [];
  for (let number = 0; arrays[`sheet ${number}`]; number++) sheets.push(URL.createObjectURL(new Blob([arrays[`sheet ${number}`]], { type: kind })));
  return (row, size) => {
    const place = at.get(arrays.examples[row]);
    if (place === undefined) return `<span class="imu-note">no picture in this file</span>`;
    const scale = size / height, within = place % each, rows = Math.ceil(Math.min(each, at.size - (place - within)) / across);
    const [x, y] = [within % across, Math.floor(within / across)];
    return `<span class="thumb" role="img" aria-label="example ${arrays.examples[row]}" style="width:${width * scale}px;height:${size}px;background-image:url(${sheets[Math.floor(place / each)]});background-size:${across * width * scale}px ${rows * size}px;background-position:${-x * width * scale}px ${-y * size}px"></span>`;
  };
}
