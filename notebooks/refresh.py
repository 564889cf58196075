"""Executes notebooks in place, so that the outputs stored in them are those of the code: `make notebooks` for all, or
`python notebooks/refresh.py notebooks/04_read_an_ablation.ipynb` for one."""

import argparse
import os
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # a progress bar in plain text is fine
}


def execute(path: Path, seconds: int | None = None) -> nbformat.NotebookNode:
    """The notebook after all its cells, run by a fresh kernel of this interpreter in the notebook's folder. Raises
    nbclient's errors if a cell fails or takes more than `seconds`."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),  # no other Python's kernel
        timeout=seconds,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute(cleanup_kc=True, env=os.environ | ENVIRONMENT)
    return notebook


def without_noise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Removes in place what differs between two runs of the same code: progress bars, and the version of Python.
    Returns the notebook."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if "%|" not in output.get("text", "")]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    for path in parser.parse_args().notebooks:
        start = time.monotonic()
        nbformat.write(without_noise(execute(path)), path)
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
