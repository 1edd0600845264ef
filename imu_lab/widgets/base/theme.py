"""How panels look: one style sheet in JupyterLab's own colour variables, so that light and dark both work.

Nothing here fixes a text or background colour. Plotly draws with colours of its own, written into the drawing, so its
words and grid lines are re-coloured from outside; what the traces mean by their colours stays as it is.
"""

from __future__ import annotations

import ipywidgets as W

from .reachable import reachable

STYLE_SHEET = """
.imu-panel { --imu-text: var(--jp-ui-font-color1, currentColor); --imu-soft: var(--jp-ui-font-color2, #808080);
  --imu-line: var(--jp-border-color2, #80808055); --imu-raised: var(--jp-layout-color2, #80808018);
  color: var(--imu-text); font-size: 13px; overflow: hidden; padding: 2px 4px 8px }
.imu-panel .widget-html-content { line-height: 1.4 }
.imu-panel .widget-vbox, .imu-panel .widget-hbox { overflow: visible }
.imu-side { border-right: 1px solid var(--imu-line); padding-right: 14px }
.imu-side .widget-dropdown > select, .imu-side .widget-label { color: var(--imu-text) }
.imu-head { border-bottom: 1px solid var(--imu-line); align-items: baseline }
.imu-title { font-size: 15px; font-weight: 600 }
.imu-section { font-weight: 600; margin-top: 10px; padding-bottom: 2px; border-bottom: 1px solid var(--imu-line) }
.imu-about p, .imu-note { color: var(--imu-soft); font-size: 11.5px; line-height: 1.35; margin: 0 0 2px 0 }
.imu-status { color: var(--imu-soft); font-size: 12px; font-variant-numeric: tabular-nums }
.imu-error p { border-left: 4px solid var(--jp-error-color1, #d32f2f); background: var(--imu-raised); margin: 6px 0 0 0;
  padding: 5px 10px; font-family: var(--jp-code-font-family, monospace); font-size: 12px; overflow-wrap: anywhere }
.imu-error p[role="status"] { border-color: var(--jp-warn-color1, #e69f00) }
.imu-buttons > button { padding: 0; min-width: 0 }
.imu-more > .lm-Widget, .imu-more .jupyter-widget-Collapse-header { background: transparent; border: 0; padding: 2px 0;
  color: var(--imu-soft); font-size: 12px }
:is(.imu-more, .imu-parts) .jupyter-widget-Collapse-contents { background: transparent; border: 0; padding: 0 }
:is(.imu-more, .imu-parts) .jupyter-widget-Collapse { border: 0 }
.imu-parts > .jupyter-widget-Collapse > .jupyter-widget-Collapse-header { background: transparent; border: 0;
  border-bottom: 1px solid var(--imu-line); padding: 6px 0 3px; margin-bottom: 4px; color: var(--imu-text); font-weight: 600 }
.imu-table table { border-collapse: collapse; width: 100%; font-size: 12px; font-variant-numeric: tabular-nums }
.imu-table th { text-align: right; font-weight: 600; color: var(--imu-soft); border-bottom: 1px solid var(--imu-line);
  padding: 2px 8px; vertical-align: bottom }
.imu-table td { text-align: right; padding: 1px 8px; border-bottom: 1px solid var(--imu-line); white-space: nowrap }
.imu-table td.imu-word, .imu-table th.imu-word { text-align: left }
.imu-table tr.imu-chosen td { background: var(--imu-raised) }
.imu-table th.imu-sorted { color: var(--imu-text) }
.imu-scores td.imu-long { white-space: normal; min-width: 16em; padding-block: 3px }
.imu-panel :is(button, select, input, textarea, svg, [tabindex], [contenteditable]):focus-visible,
.imu-reachable :is(button, [tabindex], [contenteditable]):focus-visible {
  outline: 2px solid var(--jp-brand-color1, #1976d2) !important; outline-offset: 1px }
.imu-covered { display: grid; grid-template: auto / minmax(0, 1fr); width: fit-content; max-width: 100%; margin: 2px 0;
  overflow: visible; align-self: flex-start }
.imu-covered > * { grid-area: 1 / 1; margin: 0; overflow: visible }
.imu-covered > img { max-width: 100%; height: auto; place-self: start }
.imu-overlay { grid-auto-rows: minmax(0, 1fr) }
.imu-overlay > button { background: transparent; border: 0; border-radius: 4px; padding: 0; min-width: 0;
  outline-offset: -1px; cursor: pointer }
.imu-overlay > button:is(:hover, :active) { background: transparent; box-shadow: none;
  outline: 1px solid var(--imu-soft) }
.imu-overlay > button.imu-marked { outline: 3px solid #e66100; outline-offset: -2px }
.imu-overlay > button:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); box-shadow: none }
.imu-rows { --imu-row: 28px; width: 100% }
.imu-rows td { height: var(--imu-row); padding-block: 0; box-sizing: border-box }
.imu-rows > .imu-overlay { align-self: end; grid-auto-rows: var(--imu-row) }
.imu-side .imu-table :is(th, td) { padding: 1px 4px }
.imu-rows, .imu-scores, .imu-differences { overflow-x: auto }
:is(.imu-scores, .imu-differences) :is(th, td) { padding-inline: 5px }
:is(.imu-scores, .imu-differences) td.imu-word { white-space: normal }
.imu-scores td.imu-word:first-child { min-width: 8em }
.imu-rows td.imu-word:not(:first-child) { max-width: 13em; overflow: hidden; text-overflow: ellipsis }
.imu-answers td.imu-long { white-space: normal; overflow-wrap: anywhere; min-width: 8em }
.imu-answers tr:has(.imu-long) > td:first-child { white-space: normal }
.imu-answers table { width: auto } .imu-answers td { border: 0 } .imu-answers td:first-child { padding-left: 0 }
.imu-table img, .imu-card img { image-rendering: pixelated; vertical-align: middle; border-radius: 2px }
.imu-caption p { margin: 0; line-height: 1.35; font-size: 13px; font-weight: 600 }
.imu-caption span { color: var(--imu-soft); font-weight: 400 }
.imu-captioned .js-plotly-plot :is(.gtitle, .gtitle-subtitle) { display: none }
.imu-stack { position: relative; margin: 0; overflow: visible; width: 100% }
.imu-stack > .imu-map-picture { position: absolute; max-width: none; max-height: none }
.imu-stack > .imu-map-names { position: absolute; overflow: hidden; line-height: 1 }
.imu-map-names .widget-html-content > div { position: relative; margin: 0 auto }
.imu-map-names span { position: absolute; transform: translate(-50%, -50%); white-space: nowrap; font-weight: 600;
  unicode-bidi: isolate;
  font-size: 14px; --imu-page: var(--jp-layout-color0, #fff); text-shadow: 0 0 2px var(--imu-page),
  0 0 3px var(--imu-page), 0 0 4px var(--imu-page), 0 0 5px var(--imu-page) }
.imu-stack > .imu-thumbnail { position: absolute; display: none; z-index: 2; pointer-events: none; margin: 0;
  width: auto; height: auto; min-height: 0; padding: 2px; line-height: 0; background: var(--jp-layout-color0, #fff);
  border: 1px solid var(--imu-line) }
.imu-thumbnail img { image-rendering: pixelated }
.imu-stack > .imu-map { position: relative; margin: 0; flex: 1 1 0; min-width: 0 }
.imu-histogram { width: 190px; margin: 0 12px 4px 0; overflow: visible } .imu-histogram p { margin: 0; display: flex;
  justify-content: space-between; font-size: 12px; line-height: 1.3 }
.imu-histogram button { border: 0; background: none; color: var(--imu-soft); cursor: pointer; padding: 0 2px }
.imu-histogram svg { width: 100%; height: 56px; display: block; cursor: ew-resize; touch-action: none; overflow: visible }
.bar-all { fill: var(--imu-soft); opacity: .35 } .bar-now { fill: #D55E00 } .brush { fill: #0072B2; opacity: .25 }
.imu-ids textarea { white-space: pre; overflow: auto hidden; height: 40px; min-height: 40px; resize: none }
.imu-why p { font-size: 12.5px; color: var(--imu-text) }
.imu-key { display: inline-block; width: 14px; height: 0; border-top: 3px solid; vertical-align: middle;
  margin-right: 6px }
.imu-card-body { display: grid; grid-template-columns: max-content max-content minmax(0, 1fr); gap: 4px 28px;
  align-items: start }
.imu-card-body dl { display: grid; grid-template-columns: max-content max-content; gap: 1px 14px; margin: 0;
  font-size: 12px; font-variant-numeric: tabular-nums }
.imu-side .imu-card-body { display: flex; flex-wrap: wrap; gap: 4px 14px }
.imu-side .imu-card-body svg { flex-basis: 100% }
.imu-side .imu-card-body dl { column-gap: 8px }
.imu-card-body dt { color: var(--imu-soft); font-weight: 400; white-space: nowrap }
.imu-card-body dd { margin: 0; text-align: right }
.imu-card-body svg text { fill: var(--imu-soft); font-size: 10px }
.imu-card-body figure { margin: 0 } .imu-card-body figcaption { color: var(--imu-soft); font-size: 12px }
.imu-panel .js-plotly-plot .main-svg { background: transparent !important }
.imu-panel .js-plotly-plot .infolayer text { fill: var(--imu-text) !important }
.imu-panel .js-plotly-plot .cartesianlayer text { fill: var(--imu-soft) !important }
.imu-panel .js-plotly-plot :is(.gridlayer path, .zerolinelayer path) { stroke: var(--imu-line) !important }
.imu-panel .js-plotly-plot:not(.imu-map, .imu-paths) .shapelayer path { stroke: var(--imu-text) !important }
.imu-panel .js-plotly-plot .legend .bg { fill: transparent !important }
"""


# ipywidgets' own arrow of a menu is black on a dark page, too.
ARROW = """.imu-panel { --jp-widgets-dropdown-arrow: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox=\
'0 0 18 18'%3E%3Cpath d='M4.5 7 9 11.5 13.5 7' fill='none' stroke='%23808080' stroke-width='2'/%3E%3C/svg%3E") }
"""


def style_sheet() -> W.HTML:
    """The style sheet as a widget that takes no room; with it the page begins to tend controls (:func:`.reachable`)."""
    reachable()
    return W.HTML(f"<style>{STYLE_SHEET}{ARROW}</style>", layout=W.Layout(display="none"))


def section(title: str) -> W.HTML:
    """A small heading among controls."""
    return W.HTML(title).add_class("imu-section")
