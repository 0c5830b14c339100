"""Pages of one file: of a summary and its charts, which needs nothing else; of the service, which asks it."""

import base64
import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from hi_ml.reports.drawing import DPI

FINDINGS, COMPARISON, MODEL, BOARD = (f"{name}.html.jinja" for name in ("page", "comparison", "model", "board"))
_CSS_DPI = 96  # pixels of a style sheet per inch
_SIZE = slice(16, 24)  # where a PNG says its width and height


def render(
    summary: Mapping[str, Any], charts: Mapping[str, Sequence[tuple[str, Path]]], *, template: str = FINDINGS
) -> str:
    """Write the report as HTML.

    Parameters
    ----------
    summary : mapping
        From `hi_ml.reports.findings.summarize`, for a comparison `hi_ml.reports.comparison.summarize`, for a model
        `hi_ml.reports.model.summarize`.
    charts : mapping of str to sequence of (str, Path)
        By finding, or by section of the page: what each chart shows, for readers who cannot see it, and its PNG file,
        which is put into the page.
    template : str
        The page to fill.

    Returns
    -------
    str
        A whole document; equal input gives equal text.
    """
    pictures = {name: [_picture(alt, path) for alt, path in drawn] for name, drawn in charts.items()}
    environment = Environment(
        loader=FunctionLoader(_shipped),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(summary=summary, pictures=pictures) + "\n"


def _shipped(name: str) -> str:
    return files("hi_ml.reports").joinpath(name).read_text("utf-8")


def _picture(alt: str, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    width, height = (round(size * _CSS_DPI / DPI) for size in struct.unpack(">II", content[_SIZE]))
    source = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return {"alt": alt, "source": source, "width": width, "height": height, "table": f"{path.stem}.csv"}


_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def service_page() -> tuple[str, str]:
    """Return who is in house and will be, and what a browser may do for it: run its own script, ask this service."""
    text = _shipped("live.html").replace("/* page.css */", _shipped("page.css"))
    (script,) = _SCRIPT.findall(text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-{digest}'"
    return text, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
