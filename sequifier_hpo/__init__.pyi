from sequifier_hpo.api import Study as Study
from sequifier_hpo.api import StudyRun as StudyRun
from sequifier_hpo.api import open_study as open_study
from sequifier_hpo.api import search as search

__version__: str
