"""What a process knows of itself as one of those that work on blocks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WORKER", "Worker"]


@dataclass
class Worker:
    """One process among the workers.

    Attributes
    ----------
    threads : int
        How many blocks it works on at once; whoever starts it sets it.
    """

    threads: int = 1


WORKER = Worker()
"""This process."""
