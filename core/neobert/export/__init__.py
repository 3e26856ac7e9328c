"""To folders that other libraries load with no code of ours."""

from neobert.export.folder import export_model, opening_command

__all__ = ["export_model", "opening_command"]
