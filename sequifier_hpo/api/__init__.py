"""Searches and studies for programs and notebooks.

`sequifier_hpo` itself has these names. Errors are those of the command line: `sequifier_hpo.errors`.
"""

from sequifier_hpo.api.runs import StudyRun
from sequifier_hpo.api.searching import search
from sequifier_hpo.api.studies import Study, open_study

__all__ = ["Study", "StudyRun", "open_study", "search"]
