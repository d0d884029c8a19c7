"""The study without training that the tests of the command line look at."""

from tests.cli.conftest import study

__all__ = ["study"]
