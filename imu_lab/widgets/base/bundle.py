"""A FigureWidget whose 5 MB plotly bundle crosses the wire once per kernel.

plotly's own FigureWidget carries ``package_data/widgetbundle.js`` (5 MB) as a synced trait of every instance: eight
figures cost 54 MB of messages, ten seconds and 270 MB of browser memory. Here one hidden widget, the loader, carries
the bundle, and the JavaScript of each figure is a few lines that wait for it: eight figures then take half a second.

It rests on private things of plotly: the file above; that its default export is a function that returns one fresh
``{initialize, render}`` per figure; the names of methods of its ``FigureView`` (see :class:`Loader`) and of what a plot
keeps (see :data:`MOVE_POINTS`); and how Python sends an update (see :class:`FigureWidget`). That is why the project asks
for plotly<8, and tests look at all of them.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets

from .steady import STEADY

BUNDLE = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"

# One promise per page and plotly version, made by whoever comes first: the loader or a figure that waits for it.
PROMISE = f"""(globalThis["imu_lab plotly {plotly.__version__}"] ??= (() => {{
  let resolve; const promise = new Promise(done => resolve = done); promise.resolve = resolve; return promise }})())"""


# Where points of lines and markers merely move or fade, only they are drawn again: as one step of an animation without
# duration. An update draws axes, legend and titles anew as well, which takes twice as long.
# Left to plotly's update is what such a step does not draw, or draws wrongly: lines that begin or cease to be, axes whose
# ranges or categories follow the points, error bars, any other kind of trace in the figure (its layer would vanish), a
# page that is not seen (it gets no frames), and a second step within a frame (the queue would drop the first).
# All lines are in the step, moved or not: plotly would draw those that are not under the others. The legend is faded here.
# The points are drawn in the same breath in which the step begins, so nothing is under way after it, though plotly says
# so until its next timer, and whoever waits for a redraw is told then, as ever.
MOVE_POINTS = """view => {
  const { do_update, do_animate } = view;
  const atOnce = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: false } };
  const isLine = trace => trace.type === "scatter" && trace.visible === true;
  const isBare = trace => !trace.error_x?.visible && !trace.error_y?.visible;
  const isFixed = axis => axis.type === "linear" && !axis.autorange && !axis.rangeslider?.visible;
  const isFree = plot => !document.hidden && !plot._transitionData?._animationRaf && !plot._transitioning;
  const moves = ([name, values]) => ["x", "y", "customdata"].includes(name)
    ? values.every(value => value === undefined || value?.length) : name === "opacity" && !values.includes(null);
  const finish = plot => {
    for (const key of plot.querySelectorAll(".legend .layers")) {
      const shown = plot._fullData[key.__data__?.[0]?.trace.index];
      if (shown) key.style.opacity = shown.opacity;
    }
    plot._transitioning = false;
    plot.emit?.("plotly_afterplot");
  };

  view.do_update = function () {
    const update = this.model.get("_py2js_update"), plot = this.el, known = plot._fullData ?? [];
    const onFixedAxes = trace => [trace.xaxis, trace.yaxis].every(
      id => isFixed(plot._fullLayout[id.replace(/^[xy]/, "$&axis")]));
    const named = Object.entries(update?.style_data ?? {}), others = Object.keys(update?.layout_data ?? {});
    if (!named.length || others.length || !named.every(moves) || !known.length || !isFree(plot)
        || !update.style_traces.map(at => known[at]).every(trace => isLine(trace) && isBare(trace) && onFixedAxes(trace))
        || !known.every(trace => !trace.visible || trace.type === "scatter"))
      return do_update.call(this);
    const lines = known.filter(isLine);
    const told = lines.map(({ index }) => update.style_traces.indexOf(index)).map(at => Object.fromEntries(
      named.map(([name, values]) => [name, values[at]]).filter(([, value]) => value !== undefined)));
    const step = { ...update, style_data: told, style_traces: lines.map(({ index }) => index), animation_opts: atOnce };
    plot.once("plotly_transitioning", () => queueMicrotask(() => finish(plot)));
    do_animate.call({ __proto__: this, model: { __proto__: this.model, get: () => step } });
  };
}"""


class Loader(anywidget.AnyWidget):
    """The hidden widget that brings plotly's JavaScript to the page. Never shown, never closed while figures live.

    After each redraw plotly's figures report to Python every property that plotly.js has filled in. Nobody here reads
    that, it costs more than the redraw's own message, and Python deletes from a figure what a late report mentions:
    data that a newer answer has just written. So the views are told to keep it to themselves.

    The same goes for what the mouse merely passes over: a lasso's message waits while the kernel is busy, and a hover
    that comes after it would take its place. Clicks and selections are told, hovers stay on the page.
    """

    _esm = f"""export default {{ initialize({{ model }}) {{
      const code = new Blob([model.get("bundle")], {{ type: "text/javascript" }});
      {PROMISE}.resolve(import(URL.createObjectURL(code)).then(bundle => {{
        const view = bundle.FigureView.prototype, quiet = () => {{}};
        view._sendTraceDeltas = view._sendLayoutDelta = view.handle_plotly_hover = view.handle_plotly_unhover = quiet;
        ({MOVE_POINTS})(view);
        return bundle }})) }} }}"""
    bundle = traitlets.Unicode().tag(sync=True)


_loader: Loader | None = None
_updates = count(1)  # for an update that is the same as the last one is news all the same


def loader() -> Loader:
    """This kernel's loader; a new one if somebody closed it, since figures on a reloaded page would wait for ever."""
    global _loader
    if _loader is None or _loader.comm is None:
        _loader = Loader(bundle=BUNDLE.read_text(encoding="utf-8"))
    return _loader


class FigureWidget(go.FigureWidget):
    """``plotly.graph_objects.FigureWidget``, light to send, as wide as its place, and drawn however late its code comes.

    What Python says before the bundle is there waits for it (see :data:`~.steady.STEADY`). Asked for its state, a
    figure tells its data of now: plotly's own tells those that it was made with, and a page that is loaded again, or
    has missed something, would draw them.

    An update is one message. plotly sends three more: two numbers that tell which reports of the page are late, of which
    there are none here (see :class:`Loader`), and one to say that the update is over.
    """

    # plotly measures its place once, when it is drawn; the observer makes it follow panels that grow and shrink.
    _esm = f"""export default () => {{
      let figure, settled;
      return {{ initialize({{ model }}) {{
        const ready = {PROMISE}.then(({{ default: make }}) => {{ figure = make(); figure.initialize({{ model }}) }});
        settled = ({STEADY})(model, ready);
      }}, async render(context) {{
        await settled;
        const {{ el: element, model }} = context;
        element.classList.add(...model.get("_dom_classes"));  // those of now: anywidget's views do not follow
        const clean = figure.render(context);
        let width = element.clientWidth;
        const observer = new ResizeObserver(() => {{
          if (element.clientWidth === width || !element.clientWidth) return;
          width = element.clientWidth; element._responsiveChartHandler?.() }});
        observer.observe(element);
        return () => {{ observer.disconnect(); clean?.() }} }} }} }}"""

    def __init__(self, *arguments, **settings) -> None:
        loader()
        super().__init__(*arguments, **settings)
        self._config = {"responsive": True, "displaylogo": False, "displayModeBar": False}

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """As ipywidgets does, with the data and the layout of now."""
        state = super().get_state(key, drop_defaults)
        if "_layout_obj" not in vars(self):
            return state  # the widget is opened before plotly has taken up its data
        for name, now in (("_widget_data", self._data), ("_widget_layout", self._layout_obj._props)):
            if name in state:
                state[name] = self.trait_metadata(name, "to_json")(deepcopy(now), self)
        return state

    def _send_update_msg(
        self, restyle_data: dict, relayout_data: dict, trace_indexes: Any = None, source_view_id: Any = None
    ) -> None:
        self._py2js_update = {
            "style_data": restyle_data,
            "layout_data": relayout_data,
            "style_traces": self._normalize_trace_indexes(trace_indexes),
            "trace_edit_id": next(_updates),
            "layout_edit_id": 0,
            "source_view_id": source_view_id,
        }
