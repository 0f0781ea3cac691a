"""Write what is in a container image: its digests and an SBOM (CycloneDX), and print both in short.

``image_contents.py FOLDER CONTEXT NAME ID BYTES``, the last of the unpacked image: the folder has
``parfocal.oci.tar``; the context has ``dist-info/`` and ``debian.txt``, taken from the image, and
the source. Run by envs/container.sh.
"""

import json
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from datetime import UTC, datetime
from os import environ
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL


def digests_of(archive: Path) -> tuple[str, str, int]:
    """Return the digests of the manifest and the configuration, and the size of all layers."""
    with tarfile.open(archive) as tar:
        (listed,) = json.load(tar.extractfile("index.json"))["manifests"]
        blob = f"blobs/{listed['digest'].replace(':', '/')}"
        manifest = json.load(tar.extractfile(blob))
    size = sum(layer["size"] for layer in manifest["layers"])
    return listed["digest"], manifest["config"]["digest"], size


def python_packages(context: Path) -> Bom:
    """Return the SBOM of the Python packages, as cyclonedx-py makes it."""
    # It asks a Python for its path; that of the image cannot be run here.
    python = context / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps([str(context / 'dist-info')])}'\n", "utf-8")
    python.chmod(0o755)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    # It would take ten seconds to check what it made; the tests check the whole list.
    done = subprocess.run([*command, "--no-validate", python], capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return Bom.from_json(json.loads(done.stdout))


def debian_packages(listing: Path) -> list[Component]:
    """Return the packages of Debian, of which each line is name, version and architecture."""
    found = []
    for line in listing.read_text(encoding="utf-8").splitlines():
        name, version, architecture = line.split()
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        kind = ComponentType.LIBRARY
        found.append(Component(name=name, version=version, type=kind, purl=purl, bom_ref=str(purl)))
    return found


folder, context, name, image_id = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
manifest, config, size = digests_of(folder / "parfocal.oci.tar")
if config.removeprefix("sha256:") != image_id.removeprefix("sha256:"):
    sys.exit(f"The archive holds an image {config}, and {image_id} was built")
bom = python_packages(context)
bom.components.update(debian_packages(context / "debian.txt"))
image = PackageURL("oci", name="parfocal", version=manifest)
bom.metadata.component = Component(
    name=name, version=manifest, type=ComponentType.CONTAINER, purl=image, bom_ref=str(image)
)
bom.register_dependency(bom.metadata.component, bom.components)
bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, config)
bom.metadata.timestamp = datetime.fromtimestamp(int(environ["SOURCE_DATE_EPOCH"]), UTC)
JsonV1Dot6(bom).output_to_file(str(folder / "sbom.cdx.json"), allow_overwrite=True, indent=2)
told = f"PARFOCAL_IMAGE_DIGEST={name}@{manifest}\nPARFOCAL_IMAGE_ID={config}\n"
(folder / "image.env").write_text(told, encoding="utf-8")

counts = Counter(f"pkg:{part.purl.type}" for part in bom.components if part.purl)
packages = ", ".join(f"{count} {kind}/..." for kind, count in sorted(counts.items()))
sys.stdout.write(
    f"Image id:        {config}\nManifest digest: {manifest}\n"
    f"Size:            {size / 1e6:.0f} MB, unpacked {int(sys.argv[5]) / 1e6:.0f} MB\n"
    f"Content:         {packages}; see {folder / 'sbom.cdx.json'}\n"
    f"Archive:         {folder / 'parfocal.oci.tar'}\n"
)
