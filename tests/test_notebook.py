"""The notebook of the pages, run from top to bottom with a search of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


@pytest.mark.long
def test_the_notebook_runs_and_shows_what_its_words_say(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    result, trials, best, report, again = (cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code")
    assert "search notebook: finished, 3 of 3 trials have ended" in result["text/plain"]
    assert trials["text/html"].count("<tr") == 1 + 3
    assert best["text/plain"].endswith(", 2)")
    assert "trial-000" in report["text/plain"]
    assert again["text/plain"] == "(<SearchState.FINISHED: 'finished'>, True)"


def test_the_notebook_is_kept_without_output():
    """What is shown depends on the machine, and would change the file with every run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
