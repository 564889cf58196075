"""Inspect, convert, merge and split files of learned words. No model is loaded.

python scripts/embeddings.py --help
"""

import signal
import sys

from launch.embeddings import main

if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `inspect ... | head` ends without a word
    sys.exit(main())
