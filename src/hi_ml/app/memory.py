"""How much memory may this process still take?"""

import resource
from pathlib import Path

import psutil

_CONTROL_GROUPS = (  # the limit, and what is taken of it: of a container, say
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int:
    """Return bytes: what the machine, the container and ``ulimit -v`` leave, whichever is least."""
    left = [int(psutil.virtual_memory().available)]
    for paths in _CONTROL_GROUPS:
        most, taken = (_number(Path(path)) for path in paths)
        if most is not None and taken is not None:
            left.append(most - taken)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        left.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(left))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group; "max"
        return None
