"""The figures of the documentation, measured: ``make bench``."""
