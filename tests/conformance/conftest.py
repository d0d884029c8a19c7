from tests.training.conftest import make_config

__all__ = ["make_config"]
