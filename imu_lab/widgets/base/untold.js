// The words below a covered result tell what it shows: they wait with it, up to the next heading or piece of code.
const cellsBelow = function* (cell) {
  for (let next = cell.nextElementSibling; next; next = next.nextElementSibling) if (next.matches(".jp-Cell")) yield next;
};
const proseBelow = cell => {
  const found = [];
  for (const next of cellsBelow(cell)) {
    const words = next.matches(".jp-MarkdownCell") ? next.querySelector(".jp-RenderedMarkdown") : null;
    if (!words && (found.length || next.querySelector(".imu-reachable, .imu-waiting"))) break;
    for (const each of words?.children ?? []) {
      if (/^H[1-6]$/.test(each.tagName)) return found;
      if (!each.matches(".imu-later")) found.push(each);
    }
  }
  return found;
};
const untold = () => {
  const waiting = new Set();
  for (const result of document.querySelectorAll(".imu-waiting")) {
    const cell = result.closest(".jp-Cell");
    if (cell) for (const each of proseBelow(cell)) waiting.add(each);
  }
  for (const each of document.querySelectorAll("[data-imu-waits]"))
    if (!waiting.has(each)) { each.style.display = ""; each.removeAttribute("data-imu-waits") }
  for (const each of waiting)
    if (!each.dataset.imuWaits) { each.style.display = "none"; each.dataset.imuWaits = "yes" }
  for (const words of document.querySelectorAll(".jp-RenderedMarkdown")) {
    const waits = words.querySelector(":scope > [data-imu-waits]"), note = words.querySelector(":scope > .imu-later");
    if (waits && !note) words.prepend(Object.assign(document.createElement("p"), { className: "imu-later",
      style: "opacity: 0.75; font-style: italic", textContent: "What it shows is told here once you have predicted." }));
    if (!waits) note?.remove();
  }
};
