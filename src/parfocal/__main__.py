"""Run the command line as ``python -m parfocal``."""

import sys

from parfocal.cli.main import main

sys.exit(main())
