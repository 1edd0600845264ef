"""Formulas as MathML, which browsers draw by themselves: no script, no font and no server is needed for them."""

from __future__ import annotations

from docutils.utils.math.latex2mathml import tex2mathml


def inline(writer, node) -> None:
    """A formula within a line."""
    writer.body.append(tex2mathml(node.astext(), as_block=False))
    skip()


def block(writer, node) -> None:
    """A formula on its own."""
    writer.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    skip()


def skip() -> None:
    """Leave the node's own text out."""
    from docutils.nodes import SkipNode

    raise SkipNode


def setup(app) -> dict[str, bool]:
    """Registered under the name that Sphinx looks for."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
