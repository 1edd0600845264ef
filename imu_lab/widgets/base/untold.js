// The words below a covered result tell what it shows: they wait with it, up to the next heading or piece of code, and so does
// what the cells before them put out, for it is about the same; panels and errors do not wait.
const cellsBelow = function* (cell) {
  for (let next = cell.nextElementSibling; next; next = next.nextElementSibling) if (next.matches(".jp-Cell")) yield next;
};
const AT_ONCE = ".imu-panel, [data-mime-type$='stderr'], [data-mime-type$='error']";
const toldBelow = cell => {
  const prose = [], outputs = [], found = () => prose.length ? [...outputs, ...prose] : [];
  for (const next of cellsBelow(cell)) {
    const words = next.matches(".jp-MarkdownCell") ? next.querySelector(".jp-RenderedMarkdown") : null;
    if (!words && (prose.length || next.querySelector(".imu-reachable, .imu-waiting"))) break;
    const output = words ? null : next.querySelector(".jp-Cell-outputWrapper");
    if (output && !output.querySelector(AT_ONCE)) outputs.push(output);
    for (const each of words?.children ?? []) {
      if (/^H[1-6]$/.test(each.tagName)) return found();
      if (!each.matches(".imu-later")) prose.push(each);
    }
  }
  return found();
};
// A figure that waits is drawn as wide as it will be shown.
const hidden = each => each.matches(".jp-Cell-outputWrapper")
  ? { height: "0", overflow: "hidden", visibility: "hidden" } : { display: "none" };
const SHOWN = { height: "", overflow: "", visibility: "", display: "" };
const untold = () => {
  const waiting = new Set();
  for (const result of document.querySelectorAll(".imu-waiting")) {
    const cell = result.closest(".jp-Cell");
    if (cell) for (const each of toldBelow(cell)) waiting.add(each);
  }
  for (const each of document.querySelectorAll("[data-imu-waits]"))
    if (!waiting.has(each)) { Object.assign(each.style, SHOWN); each.removeAttribute("data-imu-waits") }
  for (const each of waiting)
    if (!each.dataset.imuWaits) { Object.assign(each.style, hidden(each)); each.dataset.imuWaits = "yes" }
  for (const words of document.querySelectorAll(".jp-RenderedMarkdown")) {
    const waits = words.querySelector(":scope > [data-imu-waits]"), note = words.querySelector(":scope > .imu-later");
    if (waits && !note) words.prepend(Object.assign(document.createElement("p"), { className: "imu-later",
      style: "opacity: 0.75; font-style: italic", textContent: "What it shows is told here once you have predicted." }));
    if (!waits) note?.remove();
  }
};
