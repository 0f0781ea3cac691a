"""Print the one version that all files of a source have: envs/one_version.py [SOURCE].

Exit code 1 where they have several, and each place that has another than pyproject.toml.
"""

import re
import sys
import tomllib
from pathlib import Path

NUMBER = r"([0-9]+(?:\.[0-9]+)+)"
PLACES = {
    "src/parfocal/__init__.py": rf'^__version__ = "{NUMBER}"$',
    "CITATION.cff": rf"^version: {NUMBER}$",
    "CHANGELOG.md": rf"\A# Changes\n\n## {NUMBER}",
    "galaxy_tools/macros/macros.xml": rf'"@TOOL_VERSION@">{NUMBER}</token>',
    "rules/**/*.smk": rf'"docker://localhost/parfocal:{NUMBER}"',
    "workflows/*/*.gxwf.yml": rf"^ +tool_version: {NUMBER}\+galaxy[0-9]+$",
    "docs/howto/containers.md": rf"localhost/parfocal:{NUMBER}",
    "docs/howto/galaxy.md": rf"(?:parfocal\[formats\]==|deps/parfocal/){NUMBER}",
}
"""Files, and how a version stands in them."""

source = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
with (source / "pyproject.toml").open("rb") as file:
    version = tomllib.load(file)["project"]["version"]
wrong = []
for pattern, form in PLACES.items():
    found = 0
    for path in sorted(source.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(form, text, re.MULTILINE):
            found += 1
            if match[1] != version:
                line = text.count("\n", 0, match.start(1)) + 1
                wrong.append(f"{path.relative_to(source)}:{line} has {match[1]}")
    if not found:
        wrong.append(f"{pattern} has none")
if wrong:
    sys.exit("\n".join([f"pyproject.toml has version {version}, but", *wrong]))
sys.stdout.write(f"{version}\n")
