"""The user's own configuration file, and what no file of a project may say.

Whoever opens a stranger's folder must neither run their command nor send them messages.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from sequifier_hpo.config.paths import expanded
from sequifier_hpo.config.schema import FileModel, load
from sequifier_hpo.config.yaml_file import read_yaml

NOTIFY_VARIABLE = "SEQUIFIER_HPO_NOTIFY"


class UserFile(FileModel):
    """The user's own configuration file."""

    notify: list[str] = Field([], repr=False)
    """URLs of services that a search tells when it ends, in the form of the library apprise."""
    on_event: str | None = Field(None, repr=False)
    """Command that gets each event as JSON on its standard input."""
    notify_best: bool = False
    """Whether a new best run is an event, too."""


YOURS = {
    name: (
        "remove the line: whoever opens a folder of somebody else must neither run their command "
        f"nor send them messages. Use --{name.replace('_', '-')}, or your own configuration file: "
        "~/.config/sequifier-hpo/config.yaml"
    )
    for name in UserFile.model_fields
}
"""Key -> why it is none of a project's file."""


@dataclass(frozen=True)
class Wanted:
    """Who is told of the events of a search."""

    urls: Sequence[str] = field(default=(), repr=False)
    command: str | None = field(default=None, repr=False)
    tells_best: bool = False
    """Whether a new best run is an event."""


NOBODY = Wanted()


def user_file_path() -> Path:
    """Where the user's own configuration file is."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(folder) if Path(folder).is_absolute() else Path(expanded("~/.config"))
    return base / "sequifier-hpo" / "config.yaml"


def wanted_by(urls: Sequence[str], command: str | None, *, tells_best: bool = False) -> Wanted:
    """Who is told: those given here; else those of the environment; else those of the user's file.

    Args:
        urls: Given on the command line.
        command: The same; "" = none, whatever the file says.
        tells_best: The same.

    Raises:
        ConfigError: If the user's file has a mistake.
    """
    path = user_file_path()
    own = load(UserFile, read_yaml(path)) if path.exists() else UserFile()
    in_environment = os.environ.get(NOTIFY_VARIABLE)
    if not urls:
        urls = own.notify if in_environment is None else in_environment.split()
    if command is None:
        command = own.on_event
    return Wanted(
        urls=tuple(url for url in urls if url),
        command=command or None,
        tells_best=tells_best or own.notify_best,
    )
