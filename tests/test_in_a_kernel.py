"""A real Jupyter kernel: what it shows, what an interrupt does, and the notebook for newcomers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "pipelines" / "notebooks"
ROWS = 40
SETUP = f"""
import polars as pl, opper_batch as ob
texts = pl.DataFrame({{"text": [f"text {{number}}" for number in range({ROWS})]}})
sandbox = ob.Sandbox(ob.Script(latency=0.1)).start()
def pipeline(name):
    step = {{"name": "look", "columns": {{"good": "BOOLEAN"}}}}
    return ob.Pipeline(name=name, source={{"table": texts}}, steps=[step])
"""


class Kernel:
    """Runs cells; ``interrupt_at`` is a text that, once a display shows it, interrupts the kernel."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def __call__(self, code: str, *, interrupt_at: str | None = None) -> list[dict[str, Any]]:
        """What the cell put out: the contents of its messages, in order."""
        cell, outputs = self._client.execute(code), []
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["content"].get("execution_state") == "idle":
                return outputs
            if message["msg_type"] not in ("status", "execute_input"):
                outputs.append(message["content"])
            if interrupt_at and interrupt_at in shown(outputs[-1:]):
                self._manager.interrupt_kernel()
                interrupt_at = None

    def value(self, expression: str) -> Any:
        (output,) = self(f"import json; print(json.dumps({expression}))")
        return json.loads(output["text"])


def shown(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in outputs)


@pytest.fixture
def kernel(here: Path) -> Iterator[Kernel]:
    manager = KernelManager(transport="ipc")
    manager.start_kernel(cwd=str(here))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_interrupted_cell_drains_and_goes_on_when_it_is_run_again(kernel: Kernel) -> None:
    kernel(SETUP)
    for name, cell in (
        ("plain", "run = ob.run(pipeline('plain'), sandbox=sandbox, concurrency=2)"),
        ("awaited", "run = await ob.run_async(pipeline('awaited'), sandbox=sandbox, concurrency=2)"),
    ):
        before = kernel.value("len(sandbox.journal.calls)")
        outputs = kernel(cell, interrupt_at="2 in flight")
        assert outputs[-1]["ename"] in ("KeyboardInterrupt", "CancelledError")
        assert f"{name} · look: interrupted; everything answered is kept" in shown(outputs)
        asked = kernel.value("len(sandbox.journal.calls)") - before
        assert 0 < asked < ROWS, "the interrupt waited for the run"
        again = kernel(cell.replace(", concurrency=2", ""))
        assert f"done, {ROWS} of {ROWS} rows" in shown(again)
        assert kernel.value("len(sandbox.journal.calls)") - before == ROWS
        assert kernel.value("[run.counts.ok, run.counts.cached, run.summary.in_doubt]") == [ROWS, asked, 0]

    (error,) = kernel("ob.run(pipeline('plain'), concurrency=0)")
    assert error["traceback"] == ["DefinitionError: concurrency = 0: must be above 0"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run_from_where_they_lie_and_are_kept_without_outputs(examples: Path, path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    where = {"metadata": {"path": str(examples / "pipelines" / "notebooks")}}
    NotebookClient(notebook, resources=where, timeout=60).execute()
    pages = [output.data["text/html"] for cell in cells for output in cell.outputs if "data" in output]
    assert sum("<progress" in page for page in pages) >= 3
    assert sum("<details>" in page for page in pages) >= 2
