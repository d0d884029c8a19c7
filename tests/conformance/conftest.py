from tests.training.conftest import make_config, make_data

__all__ = ["make_config", "make_data"]
