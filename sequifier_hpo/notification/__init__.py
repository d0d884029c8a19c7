"""Telling people, in a process of its own, what happens to a search.

Whatever a service or a command does, hang, fail or flood, nothing of it reaches the search.
"""

from sequifier_hpo.notification.notifier import Notifier, shown_service

__all__ = ["Notifier", "shown_service"]
