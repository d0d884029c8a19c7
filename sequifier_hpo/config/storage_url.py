"""Storage URLs as text: the default one, and the form that may be shown."""

import re
from pathlib import Path


def sqlite_url(path: Path) -> str:
    """URL of an SQLite storage in a file."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite storage, or None if the URL is another database's."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1]) if match else None


def redacted(url: str) -> str:
    """The URL without its secrets, for everything that is shown, logged or written."""
    # Rather too much than too little: whoever mistypes a URL must not see the password either.
    url = re.sub(r"(://[^:@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    secrets = r"((?:password|passfile|sslpassword|secret|token)=)[^&]*"
    return re.sub(secrets, r"\1***", url, flags=re.IGNORECASE)
