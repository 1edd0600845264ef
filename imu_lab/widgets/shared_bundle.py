"""A FigureWidget whose 5 MB plotly bundle crosses the wire once per kernel.

plotly's own FigureWidget carries ``package_data/widgetbundle.js`` (5 MB) as a synced trait of every instance: eight
figures cost 54 MB of messages, ten seconds and 270 MB of browser memory. Here one hidden widget, the loader, carries
the bundle, and the JavaScript of each figure is a few lines that wait for it: eight figures then take half a second.

It rests on three private things of plotly: the file above; that its default export is a function that returns one fresh
``{initialize, render}`` per figure; and the names of four methods of its ``FigureView`` (see :class:`Loader`). That is
why the project asks for plotly<8, and a test looks at all three.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets

BUNDLE = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"

# One promise per page and plotly version, made by whoever comes first: the loader or a figure that waits for it.
PROMISE = f"""(globalThis["imu_lab plotly {plotly.__version__}"] ??= (() => {{
  let resolve; const promise = new Promise(done => resolve = done); promise.resolve = resolve; return promise }})())"""


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
        return bundle }})) }} }}"""
    bundle = traitlets.Unicode().tag(sync=True)


_loader: Loader | None = None


def loader() -> Loader:
    """This kernel's loader; a new one if somebody closed it, since figures on a reloaded page would wait for ever."""
    global _loader
    if _loader is None or _loader.comm is None:
        _loader = Loader(bundle=BUNDLE.read_text(encoding="utf-8"))
    return _loader


class FigureWidget(go.FigureWidget):
    """``plotly.graph_objects.FigureWidget``, light to send, and as wide as the place it is put in."""

    # plotly measures its place once, when it is drawn; the observer makes it follow panels that grow and shrink.
    _esm = f"""export default async () => {{
      const figure = await (await {PROMISE}).default();
      return {{ initialize: figure.initialize, render(context) {{
        const clean = figure.render(context), element = context.el;
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
