"""Card files as systems of trueup."""

from cardfile_trueup.connector import CardFileConnector

__all__ = ["CardFileConnector"]
