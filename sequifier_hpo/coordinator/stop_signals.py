"""The signals by which a user ends what runs."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM, and SIGHUP unless it is ignored: `nohup` promises to outlive the terminal."""
    is_hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    always = (signal.SIGINT, signal.SIGTERM)
    return always if is_hangup_ignored else (*always, signal.SIGHUP)
