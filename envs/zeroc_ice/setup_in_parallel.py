"""Run setup.py of this folder with its files compiled on all processors.

setuptools compiles the files of an extension one after another, which takes Ice ten minutes.
Here a compilation only starts where setuptools asks for it, and all are waited for where it links.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import setuptools  # noqa: F401  (it brings distutils where Python has none)

POOL = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
STARTED: list[Future[None]] = []
Compiler = importlib.import_module("distutils.unixccompiler").UnixCCompiler
compile_one = Compiler._compile  # noqa: SLF001  (all that is between two files)
link_all = Compiler.link


def start(self: Any, *arguments: Any) -> None:
    """Start to compile one file."""
    STARTED.append(POOL.submit(compile_one, self, *arguments))


def link(self: Any, *arguments: Any, **options: Any) -> None:
    """Link what was compiled; the first file that failed is raised."""
    try:
        for compilation in STARTED:
            compilation.result()
    finally:
        POOL.shutdown(cancel_futures=True)
    link_all(self, *arguments, **options)


Compiler._compile = start  # noqa: SLF001
Compiler.link = link
sys.argv[0] = "setup.py"
sys.path.insert(0, "")
runpy.run_path("setup.py", run_name="__main__")
