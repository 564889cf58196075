"""The notebooks run from the first cell to the last, and what is stored in them is whole, small, and says nothing about
the machine that made it."""

import re
import resource
from pathlib import Path

import nbformat
import pytest

from notebooks.refresh import execute

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BUDGET = 300  # seconds on two free cores
MAX_BYTES = 2_500_000  # of all notebooks together
PATHS = re.compile(r"(?<![\w.])/(home|root|tmp|work|usr|opt|var|Users|private)/|[A-Z]:\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def pictures(notebook) -> int:
    return sum(kind.startswith("image/") for output in outputs(notebook) for kind in output.get("data", {}))


def texts(notebook):
    """Return the text of a notebook, without its images."""
    for cell in notebook.cells:
        yield cell.source
    for output in outputs(notebook):
        yield output.get("text", "")
        yield from (str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/"))


def test_all_notebooks_are_there_and_small():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_learn_a_word", "02_use_words", "03_look_inside", "04_read_an_ablation",
    ]  # fmt: skip
    sizes = {path.name: path.stat().st_size for path in NOTEBOOKS}
    assert sum(sizes.values()) <= MAX_BYTES, sizes


@every_notebook
def test_the_stored_outputs_are_of_one_run_without_errors(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert pictures(notebook) >= 3
    assert not [output for output in outputs(notebook) if output.output_type == "error"]


@every_notebook
def test_a_notebook_says_nothing_about_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    hits = [text[:300] for text in texts(notebook) if PATHS.search(text) or "Warning" in text]
    assert not hits, hits
    assert notebook.metadata.language_info == {"name": "python"}, "metadata of an editor: run `make notebooks`"


@pytest.mark.parametrize("text", ["in /home/me/runs", "'/tmp/x.png'", "C:\\Users\\me"])
def test_the_search_sees_a_path(text):
    assert PATHS.search(text)


def cpu_seconds() -> float:
    """Return the time that processors have spent on ended child processes: other load on the machine adds nothing."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs(path):
    start = cpu_seconds()
    notebook = execute(path, seconds=5 * BUDGET)
    seconds = cpu_seconds() - start
    assert pictures(notebook) == pictures(nbformat.read(path, as_version=4)), "run `make notebooks`"
    assert seconds < 2 * BUDGET, f"{seconds:.0f} s of two cores"
