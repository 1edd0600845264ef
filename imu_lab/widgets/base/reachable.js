// Gives controls what ipywidgets leaves them without, for those who use no mouse, or do not see the page: a slider its
// name, a button or menu that shows an icon or nothing the words of its tooltip, a folded part a place in the order of
// Tab, a figure its title. Samples in a grid are one stop of Tab, and arrow keys go from one to another.
const TOLD = "select:not([aria-label]), input[type=checkbox]:not([aria-label])";
const plain = words => (words ?? "").replace(/[\u200b\ue000-\uf8ff]/g, "").replace(/\s+/g, " ").trim();
const tell = (element, name, words) => { if (words && element.getAttribute(name) !== words) element.setAttribute(name, words) };
const without = markup => new DOMParser().parseFromString((markup ?? "").replace(/<br ?\/?>/g, " "), "text/html").body.textContent;

const fold = header => {
  tell(header, "aria-label", plain(header.textContent));
  const part = header.parentElement, tellState = () => tell(header, "aria-expanded",
    String(part.classList.contains("jupyter-widget-Collapse-open")));
  if (!header.hasAttribute("tabindex")) {
    tell(header, "tabindex", "0"); tell(header, "role", "button");
    header.addEventListener("keydown", event => {
      if (event.target === header && ["Enter", " "].includes(event.key)) { event.preventDefault(); event.stopPropagation(); header.click() }
    });
    new MutationObserver(tellState).observe(part, { attributes: true, attributeFilter: ["class"] });
  }
  tellState();
};

const samples = grid => [...grid.querySelectorAll(":scope > button")];
const stopAt = (grid, one) => { for (const button of samples(grid)) tell(button, "tabindex", button === one ? "0" : "-1") };
const grid = overlay => {
  tell(overlay, "role", "toolbar"); tell(overlay, "aria-label", "samples; arrow keys go from one to another");
  const all = samples(overlay), current = all.find(button => button.getAttribute("tabindex") === "0");
  stopAt(overlay, all.find(button => button === document.activeElement) ?? all.find(button => button.matches(".imu-marked")) ?? current ?? all[0]);
};
const gridWith = event => event.target.closest?.(".imu-overlay");
const arrive = event => { const overlay = gridWith(event); if (overlay && event.target.matches("button")) stopAt(overlay, event.target) };
const walk = event => {
  const overlay = gridWith(event), all = overlay ? samples(overlay) : [], at = all.indexOf(event.target);
  if (at < 0 || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const across = getComputedStyle(overlay).gridTemplateColumns.split(" ").length;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - across, ArrowDown: at + across, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault(); event.stopImmediatePropagation();  // JupyterLab would go to another cell
  all[to]?.focus();
};

const tend = panel => {
  for (const handle of panel.querySelectorAll(".noUi-handle, .widget-readout[contenteditable]")) {
    const slider = handle.closest(".widget-hslider, .widget-inline-hbox, .jupyter-widgets");
    const name = plain(slider?.querySelector(".widget-label")?.textContent) || plain(panel.querySelector(".widget-html")?.textContent);
    tell(handle, "aria-label", name);
    if (handle.matches(".widget-readout")) tell(handle, "role", "textbox");
  }
  for (const button of panel.querySelectorAll("button")) {
    const words = plain(button.textContent);
    if (button.matches(".widget-toggle-button")) tell(button, "aria-pressed", String(button.classList.contains("mod-active")));
    if (!words || button.querySelector("i.fa"))  // else its name would be that of an icon's letter, or of a blank
      tell(button, "aria-label", words || plain(button.title));
  }
  for (const control of panel.querySelectorAll(TOLD))
    if (!control.labels?.length || !plain([...control.labels].map(label => label.textContent).join(" ")))
      tell(control, "aria-label", plain(control.title || control.closest("[title]")?.title));
  for (const header of panel.querySelectorAll(".jupyter-widget-Collapse-header")) fold(header);
  for (const overlay of panel.querySelectorAll(".imu-overlay")) grid(overlay);
  for (const image of panel.querySelectorAll("img:not([alt])")) image.alt = "";  // buttons over it have the names
  for (const plot of panel.querySelectorAll(".js-plotly-plot")) {
    const caption = plot.closest(".imu-captioned")?.querySelector(".imu-caption")?.textContent;
    tell(plot, "role", "img");
    tell(plot, "aria-label", plain(caption) || plain(without(plot._fullLayout?.title?.text)) || "a figure");
  }
};

const start = () => {
  let due = null;
  const all = () => { due = null; document.querySelectorAll(".imu-panel, .imu-reachable").forEach(tend); untold() };
  const soon = () => { due ??= setTimeout(all, 150) };  // after what is drawn, not with it
  // A button of ipywidgets forgets its place in the order of Tab whenever its words or classes change.
  new MutationObserver(soon).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["title", "tabindex"] });
  document.addEventListener("click", soon);
  document.addEventListener("focusin", arrive);
  window.addEventListener("keydown", walk, true);
  soon();
  return true;
};

export default { initialize() { globalThis["imu_lab reachable"] ??= start() } };
