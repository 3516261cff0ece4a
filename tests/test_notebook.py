"""Tests of the notebook: it runs from an empty data_dir to an AUROC, and is shipped clean."""

import re

import nbclient
import nbformat
import pytest
from blocks import GUIDES

NOTEBOOK = GUIDES / "first_auroc.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_valid_and_has_no_output_and_no_path_of_anybodys_machine(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
        assert not re.search(r"(?<![\w:/])/(home|work|tmp|Users)/", cell.source)


def test_every_link_of_the_notebook_leads_to_a_guide(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        assert (GUIDES / link.partition("#")[0]).is_file(), link


@pytest.mark.slow  # It builds the sample and trains a network.
def test_the_notebook_runs_to_a_first_auroc(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    results = [output.data for output in outputs if output.output_type == "execute_result"]
    counts, picture, learnt, figures = results
    assert "'Nodule': 66" in counts["text/plain"]
    assert picture["image/png"]
    assert "val_auroc" in learnt["text/plain"]
    # The network found the nodules of the synthetic images; chance would be 0.5.
    assert float(re.search(r"Nodule +([\d.]+)", figures["text/plain"])[1]) > 0.8
