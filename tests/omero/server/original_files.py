"""The bytes of original files on disk, and who may have them."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path, PurePosixPath

import omero

from .calls import Call
from .entities import Entity
from .permissions import Right, rights

__all__ = [
    "DEFAULT_POLICY",
    "REPOSITORY",
    "RESTRICTABLE",
    "OriginalFiles",
    "check_unrestricted",
    "checksum",
    "is_restricted",
]

DEFAULT_POLICY = frozenset({"+read", "+write", "+image"})
REPOSITORY = "ManagedRepository"
RESTRICTABLE = frozenset(
    {"Image", "OriginalFile", "Plate", "PlateAcquisition", "Well", "WellSample"}
)
_BLOCK = 1 << 24


class OriginalFiles:
    """Where the bytes of original files are.

    Those of an import lie under names of their own in the managed repository, all others under
    their ids. What a file belongs to is noted in its value ``repo``, which is not of the model.

    Parameters
    ----------
    folder : Path
        The server's.
    """

    def __init__(self, folder: Path) -> None:
        self.files, self.managed = folder / "Files", folder / REPOSITORY
        self.files.mkdir(parents=True, exist_ok=True)
        self.managed.mkdir(parents=True, exist_ok=True)

    def path(self, file: Entity) -> Path:
        """Return where the bytes of a file are, or would be."""
        if file["repo"] is None:
            return self.files / str(file.id)
        inside = PurePosixPath(str(file["path"]).strip("/"), str(file["name"]))
        return self.managed / inside

    def remove(self, file: Entity) -> None:
        """Delete the bytes of a file where there are any."""
        path = self.path(file)
        if path.is_file():
            path.unlink()


def checksum(path: Path, algorithm: str | None) -> str | None:
    """Return the digest of a file as OMERO writes it; None where no algorithm is asked for."""
    if algorithm is None:
        return None
    if algorithm == "File-Size-64":
        return f"{path.stat().st_size:016x}"
    if algorithm in ("CRC-32", "Adler-32"):
        step = zlib.crc32 if algorithm == "CRC-32" else zlib.adler32
        value = 0 if algorithm == "CRC-32" else 1
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                value = step(block, value)
        return f"{value:08x}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if algorithm == "MD5-128" else "sha1").hexdigest()


def is_restricted(call: Call, entity: Entity, policy: frozenset[str]) -> bool:
    """Tell whether the policy of binary access keeps original bytes from a user.

    As the real server does it: small text files are always given; files of images only with
    ``+image``, of images of plates only with ``+plate`` as well.
    """
    kind = entity.kind.name
    if kind not in RESTRICTABLE:
        return False
    if "+write" not in policy or ("+read" not in policy and Right.EDIT not in rights(call, entity)):
        return True
    if kind == "Image":
        return _image_restricted(call, entity, policy)
    if kind == "OriginalFile":
        return not str(entity["name"]).endswith(".txt") and any(
            _image_restricted(call, image, policy)
            for entry in call.store.referrers(entity, "FilesetEntry", "originalFile")
            for image in call.store.referrers(entry["fileset"], "Image", "fileset")
        )
    return not {"+image", "+plate"} <= policy


def _image_restricted(call: Call, image: Entity, policy: frozenset[str]) -> bool:
    if "+image" not in policy:
        return True
    return "+plate" not in policy and call.store.count_referrers(image, "WellSample", "image") > 0


def check_unrestricted(call: Call, file: Entity, policy: frozenset[str]) -> None:
    """Refuse the bytes of a file to who may not have them.

    Raises
    ------
    omero.SecurityViolation
    """
    if is_restricted(call, file, policy):
        raise omero.SecurityViolation(
            None, "ome.conditions.SecurityViolation", f"Download is restricted for {file}"
        )
