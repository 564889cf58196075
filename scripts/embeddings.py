"""Learned words between files and tools; needs no model.

python scripts/embeddings.py --help
"""

import sys

from launch.embeddings import main

if __name__ == "__main__":
    sys.exit(main())
