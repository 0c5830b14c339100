"""The page of the service: who is in house, who will be, and how sure that is; one file, which asks the service."""

import base64
import hashlib
import re
from importlib.resources import files

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page() -> tuple[str, str]:
    """Return the page, and what a browser may do for it: run its own script, ask this service, and nothing else."""
    shipped = files("hi_ml.reports")
    style = shipped.joinpath("page.css").read_text("utf-8")
    text = shipped.joinpath("live.html").read_text("utf-8").replace("/* page.css */", style)
    (script,) = _SCRIPT.findall(text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-{digest}'"
    return text, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
