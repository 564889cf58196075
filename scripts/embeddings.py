"""Inspect, convert, merge, split and share files of learned words. No model is loaded.

python scripts/embeddings.py --help
"""

import sys

from launch.embeddings import main
from launch.shell import end_with_pipe

if __name__ == "__main__":
    end_with_pipe()
    sys.exit(main())
