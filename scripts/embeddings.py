"""Learned words between files and tools; needs no model.

python scripts/embeddings.py --help
"""

import signal
import sys

from launch.embeddings import main

if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `inspect ... | head` ends without a word
    sys.exit(main())
