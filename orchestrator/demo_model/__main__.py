"""`python -m orchestrator.demo_model DIR` writes the demo model's files into a models folder."""

import sys
from pathlib import Path

from orchestrator.demo_model.build import build

if __name__ == "__main__":
    build(Path(sys.argv[1]))
