"""Write the conda environment of a lock file: Python, and pip with the same hashes."""

import re
import sys
from pathlib import Path

import yaml

lock = Path(sys.argv[1]).read_text(encoding="utf-8").replace("\\\n", " ")
lines = [re.sub(r"\s+", " ", line).strip() for line in lock.splitlines()]
pip = [line for line in lines if line and not line.startswith("#")]
environment = {
    "name": "parfocal",
    "channels": ["conda-forge", "nodefaults"],
    "dependencies": ["python=3.11", "pip", {"pip": pip}],
}
sys.stdout.write("# Made by envs/lock.sh from parfocal.lock.txt.\n")
yaml.safe_dump(environment, sys.stdout, sort_keys=False, width=100_000)
