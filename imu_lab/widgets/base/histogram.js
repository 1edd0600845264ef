// A histogram that one draws over: bars of all samples, before them those of the selection, and the bars that were marked.
// `marked` takes [first, last] once the mouse is let go, or null after a double click; arrow keys mark, too.
function brushable(place, { counts, label, marked }) {
  const bars = counts.length;
  place.insertAdjacentHTML("beforeend", `<svg viewBox="0 0 ${10 * bars} 60" preserveAspectRatio="none" role="slider" tabindex="0" aria-valuemin="1" aria-valuemax="${bars}"></svg>`);
  const drawing = place.lastElementChild;
  drawing.setAttribute("aria-label", label);
  const most = Math.max(1, ...counts);
  let span = null, began = null, now = counts;

  const rows = (kind, heights) => Array.from(heights, (height, at) => `<rect class="${kind}" x="${10 * at + 0.5}" width="9"
    y="${60 - 60 * height / most}" height="${60 * height / most}"/>`).join("");
  const draw = () => {
    drawing.innerHTML = rows("bar-all", counts) + rows("bar-now", now) + (span
    ? `<rect class="brush" x="${10 * span[0]}" width="${10 * (span[1] - span[0] + 1)}" y="0" height="60"/>` : "");
    drawing.setAttribute("aria-valuenow", span ? span[1] + 1 : 1);
    drawing.setAttribute("aria-valuetext", !span ? "nothing marked; arrow keys mark a bar, with Shift more, Escape none"
      : span[0] === span[1] ? `bar ${span[0] + 1} of ${bars} marked` : `bars ${span[0] + 1} to ${span[1] + 1} of ${bars} marked`);
  };
  const barAt = event => {
    const box = drawing.getBoundingClientRect();
    return Math.min(bars - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * bars)));
  };
  drawing.onpointerdown = event => { drawing.setPointerCapture(event.pointerId); began = barAt(event); span = [began, began]; draw() };
  drawing.onpointermove = event => {
    if (began !== null) { span = [began, barAt(event)].sort((one, other) => one - other); draw() }
  };
  drawing.onpointerup = () => { if (began !== null) { began = null; marked(span) } };
  drawing.ondblclick = () => marked(span = null);
  drawing.onkeydown = event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape" && span) { event.stopPropagation(); marked(span = null); draw() }
    if (!by) return;
    event.preventDefault();
    const at = Math.min(bars - 1, Math.max(0, (span ? span[1] : by < 0 ? bars : -1) + by));
    marked(span = event.shiftKey && span ? [span[0], Math.max(span[0], at)] : [at, at]);
    draw();
  };
  draw();
  return { show(counted, marks) { now = counted; if (began === null) span = marks; draw() } };
}
