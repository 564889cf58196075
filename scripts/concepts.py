"""Render the concepts that come with the project for inversion, with their ground truth beside them.

python scripts/concepts.py --help
"""

from launch.concepts import main

if __name__ == "__main__":
    main()
