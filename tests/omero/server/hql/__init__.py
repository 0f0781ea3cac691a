"""HQL, the query language of Hibernate, as far as clients of OMERO use it."""

from .query import run
from .tokens import HqlError

__all__ = ["HqlError", "run"]
