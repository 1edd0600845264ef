"""The picture of the sample under the mouse: plotly's own words under the mouse cannot hold one."""

from __future__ import annotations

from collections.abc import Callable

import anywidget

from ..base.steady import STEADY


class Thumbnail(anywidget.AnyWidget):
    """A picture beside the dot of a figure that the mouse is over; put both into one box of the class ``imu-stack``.

    The page asks for the picture of an example when it first needs it, and keeps the answer; the words of the figure
    do not wait for it.

    Args:
        picture: from an example to an ``<img>``, or to nothing where it has no picture.
    """

    _esm = (
        f"const steady = {STEADY};"
        + """export default { initialize({ model }) { steady(model) }, render({ model, el }) {
      const known = new Map();
      let plot = null, at = null;
      const hide = () => { at = null; el.style.display = "none" };
      const show = () => {
        const image = at && known.get(at.example);
        if (!image) return;
        el.innerHTML = image;
        el.style.left = `${at.x + 14}px`; el.style.top = `${at.y + 18}px`; el.style.display = "block";
      };
      const hover = ({ points: [point] }) => {
        const { xaxis, yaxis } = point, place = plot.getBoundingClientRect(), box = el.parentElement.getBoundingClientRect();
        at = { example: point.customdata, x: place.left - box.left + xaxis._offset + xaxis.d2p(point.x),
               y: place.top - box.top + yaxis._offset + yaxis.d2p(point.y) };
        if (known.has(at.example)) return show();
        el.style.display = "none";
        model.send({ example: at.example });
      };
      const told = ({ example, image }) => { known.set(example, image); if (at?.example === example) show() };
      const look = setInterval(() => {  // the figure is drawn later than this
        plot = el.parentElement?.querySelector(".js-plotly-plot");
        if (!plot?.on) return;
        clearInterval(look);
        plot.on("plotly_hover", hover); plot.on("plotly_unhover", hide);
      }, 200);
      hide();
      model.on("msg:custom", told);
      return () => { clearInterval(look); model.off("msg:custom", told);
        plot?.removeListener?.("plotly_hover", hover); plot?.removeListener?.("plotly_unhover", hide) };
    } }"""
    )

    def __init__(self, picture: Callable[[int], str]) -> None:
        super().__init__(_dom_classes=("imu-thumbnail",))
        self._picture = picture
        self.on_msg(lambda _, asked, __: self.tell(int(asked["example"])))

    def tell(self, example: int) -> None:
        """Send the page the picture of this example."""
        self.send({"example": example, "image": self._picture(example)})
