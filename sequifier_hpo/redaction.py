"""Storage URLs, and texts that quote them, without their secrets: for everything shown or stored.

When in doubt, too much is removed rather than too little: a mistyped URL must not reveal the
password either.
"""

import re

_SECRET_PARAMETER = r"((?:password|passfile|secret|token)=)"
"""Ends of the names of URL parameters whose values nobody else may see."""
_SECRET_KEY = r"((?:password|passwd|pwd)[\"']?\s*:\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,}]+)"
"""A line of YAML, or part of a mapping."""


def redacted_url(url: str) -> str:
    """A URL without its secrets."""
    url = re.sub(r"(://[^:@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(_SECRET_PARAMETER + "[^&]*", r"\1***", url, flags=re.IGNORECASE)


def redacted_text(text: str) -> str:
    """A text without the secrets of any URLs that it quotes."""
    text = re.sub(r"(://[^:@\s]*):\S*@", r"\1:***@", text)
    text = re.sub(_SECRET_KEY, r"\1***", text, flags=re.IGNORECASE)
    return re.sub(_SECRET_PARAMETER + r"[^&\s'\"]*", r"\1***", text, flags=re.IGNORECASE)
