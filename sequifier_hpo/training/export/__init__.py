"""Model files: ONNX graphs written node by node, and torch states."""

from sequifier_hpo.training.export.models import export_models
from sequifier_hpo.training.export.verification import ExportCheckError

__all__ = ["ExportCheckError", "export_models"]
