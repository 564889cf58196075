"""Render the concepts that ship with the project, and write what is known to be in each image beside them.

python scripts/concepts.py
python scripts/concepts.py cat_toy --count 25 --into /tmp/concepts
"""

import argparse
from pathlib import Path

from launch import CONFIGS
from launch.failures import reported, require_current_folder
from launch.shell import with_commands


def main() -> None:
    with reported():
        require_current_folder()
    known = sorted(path.stem for path in CONFIGS.glob("concept/*.yaml"))
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=with_commands(__doc__ or ""), formatter_class=style)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(known)} (default: all)")
    parser.add_argument("--count", type=int, help="images per concept, 1 to 25 (default: 5)")
    parser.add_argument("--into", type=Path, help="the folder to write to (default: the project's assets/concepts)")
    arguments = parser.parse_args()
    from launch.concepts import CONCEPTS, FOLDER, MOST, SHIPPED, write  # here, so that --help does not wait for torch

    unknown = set(arguments.names) - set(CONCEPTS)
    if unknown:
        parser.error(f"no concept is called {', '.join(sorted(unknown))}: choose from {', '.join(CONCEPTS)}")
    count = SHIPPED if arguments.count is None else arguments.count
    if not 1 <= count <= MOST:
        parser.error(f"--count {count}: choose 1 to {MOST}")
    with reported():
        for name in arguments.names or CONCEPTS:
            write(name, arguments.into or FOLDER, count)


if __name__ == "__main__":
    main()
