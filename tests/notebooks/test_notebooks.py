"""The notebooks run from top to bottom, with small settings; as stored they hold the outputs of a whole run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
# In place of the settings of the cells tagged "parameters".
SMALL = {
    "tune": 60,
    "draws": 60,
    "chains": 2,
    "n_trials": 10,
    "n_draws": 20,
    "n_replicates": 20,
    "n_points": 16,
    "n_patients": 15,
    "allow_unconverged": True,
}
# Those of a group use the fit that the first one saves.
GROUPS = (("01",), ("02",), ("03", "04", "05", "07"), ("06",))


@pytest.mark.parametrize("group", GROUPS, ids="+".join)
def test_notebooks_run(group: tuple[str, ...], tmp_path: Path) -> None:
    for number in group:
        (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
        shutil.copy(path, tmp_path)
        notebook = nbformat.read(path, as_version=4)
        _make_small(notebook)
        client = NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()  # raises CellExecutionError with the traceback


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook_holds_a_whole_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not re.search(r"/(home|root|work|Users)/", nbformat.writes(notebook)), (
        "a path of the machine it ran on"
    )


def test_every_notebook_is_in_a_group() -> None:
    assert sorted(number for group in GROUPS for number in group) == [path.name[:2] for path in NOTEBOOKS]


def _make_small(notebook: nbformat.NotebookNode) -> None:
    """Put `SMALL` in place of the settings that the notebook names in cells tagged "parameters"."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            names = re.findall(r"^([\w, ]+?) =", cell.source, re.MULTILINE)
            wanted = [name.strip() for group in names for name in group.split(",")]
            cell.source += "\n" + "\n".join(f"{name} = {SMALL[name]!r}" for name in wanted if name in SMALL)
