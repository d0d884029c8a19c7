"""How `make cluster` finds this machine's settings of pip."""

from tests.cluster.docker import pip_paths

DEBUG = """env_var:
  PIP_FIND_LINKS='/wheels'
env:
global:
  /unused/pip.conf, exists: False
  /global/pip.conf, exists: True
    global.constraint: /elsewhere/constraints.txt
site:
  /venv/pip.conf, exists: False
user:
  /own/pip.conf, exists: True
    global.find-links:
/wheels
https://example.org/wheels
"""
SETTINGS = r"""
:env:.find-links='/wheels /more relative'
global.cache-dir='/cache'
global.cert='/ca.pem'
global.constraint='/elsewhere/constraints.txt'
global.find-links='\n/wheels\nhttps://example.org/wheels'
install.constraint='/of-install.txt'
"""


def test_settings_of_pip_are_its_files_that_exist_and_the_ones_that_these_name() -> None:
    found = set(map(str, pip_paths(DEBUG, SETTINGS)))

    assert found == {
        "/global/pip.conf",
        "/own/pip.conf",
        "/ca.pem",
        "/elsewhere/constraints.txt",
        "/wheels",
        "/more",
        "/of-install.txt",
    }


def test_a_machine_without_settings_of_pip_has_none_to_copy() -> None:
    assert pip_paths("env_var:\nenv:\nglobal:\n  /global/pip.conf, exists: False\n", "") == []
