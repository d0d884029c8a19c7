"""A headless Chromium for tests; they are skipped where there is none."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
"""The browser as Debian and Ubuntu name it."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)
DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"


@dataclass(frozen=True)
class Loaded:
    """A page once its scripts have done their work."""

    document: str
    complaints: list[str]
    """What the browser wrote to its console, refused requests included."""


def load_page(address: str, folder: Path, *flags: str) -> Loaded:
    """Open a page, and let its clock run for some seconds."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
            "--no-sandbox",  # for containers, where tests may run as root
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}"),
            *("--virtual-time-budget=8000", *flags, "--dump-dom", address),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Loaded(done.stdout, complaints)
