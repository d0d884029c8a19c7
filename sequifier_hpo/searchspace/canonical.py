"""One text for one value."""

import json
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys; 1, 1.0 and true stay different, order of lists and rows counts."""
    return _ENCODER.encode(value)
