"""What a command tells its user besides its result."""

import sys


def say(text: str) -> None:
    """Tell the user something that is not the result, on standard error."""
    print(text, file=sys.stderr, flush=True)
