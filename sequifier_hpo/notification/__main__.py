"""The process that tells: `python -m sequifier_hpo.notification`, started by a search."""

import os

from sequifier_hpo.notification.telling import serve

if __name__ == "__main__":
    with open(os.dup(1), "wb") as answers, open(0, "rb") as commands:  # noqa: PTH123 - descriptors
        os.dup2(2, 1)  # whatever a library prints must not end up between our answers
        serve(commands, answers)
