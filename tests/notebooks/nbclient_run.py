"""Execute a notebook through the Jupyter kernel `genailab` and report how it ended.

Usage: nbclient_run.py NOTEBOOK WORKING_FOLDER

Exit code: 0 all cells passed, 3 a cell failed, 1 anything else (the kernel did not start, died, ...).
"""

import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main() -> int:
    path, folder = sys.argv[1:]
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="genailab",
        # The first cell waits until the notebook's dependencies are compiled.
        timeout=1800,
        startup_timeout=60,
        resources={"metadata": {"path": folder}},
    )
    begun = time.monotonic()
    try:
        client.execute()
    except CellExecutionError:
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    print("\n".join(output["traceback"]) or output["evalue"])
        return 3
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = sum(
        any(mime in output.get("data", {}) for mime in ("image/png", "image/svg+xml", "text/html"))
        for output in outputs
    )
    if figures == 0:
        print("no figure came through Jupyter")
        return 1
    print(f"{figures} figures through Jupyter in {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
