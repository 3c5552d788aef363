"""The package's version, apart from the package's root so that every layer may read it."""

__version__ = "0.1.0"
