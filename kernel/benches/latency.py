"""How long the kernel `genailab` takes: until it answers, for the first variable, and per cell of a notebook.

Usage: latency.py NOTEBOOK [WORKING_FOLDER]

Run it on a quiet machine, after `genailab-kernel prepare`, with the kernel registered (`install`). Training cells,
which take as long as the training does, are left out of the median: those whose source contains `::fit(`.
"""

import pathlib
import statistics
import sys
import time

import nbformat
from jupyter_client.manager import KernelManager

PATIENCE = 1800
SLOWEST = 5


def main():
    notebook = pathlib.Path(sys.argv[1])
    folder = sys.argv[2] if len(sys.argv) > 2 else str(notebook.parent)
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    manager = KernelManager(kernel_name="genailab")
    begun = time.monotonic()
    manager.start_kernel(cwd=folder)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        print(f"answers after          {time.monotonic() - begun:6.2f} s")

        def run(cell):
            start = time.monotonic()
            reply = client.execute_interactive(cell, timeout=PATIENCE, output_hook=lambda message: None)
            if reply["content"]["status"] != "ok":
                raise RuntimeError(f"{cell}\n{reply['content']}")
            return time.monotonic() - start

        run("1 + 1")
        print(f"first cell done after  {time.monotonic() - begun:6.2f} s")
        print(f"first let              {run('let first: i32 = 1;'):6.2f} s")
        times = [(run(cell), cell) for cell in cells]
        short = [seconds for seconds, cell in times if "::fit(" not in cell]
        print(f"median of {len(short):2} cells     {statistics.median(short):6.2f} s")
        print(f"all {len(cells):2} cells           {sum(seconds for seconds, _ in times):6.2f} s")
        for seconds, cell in sorted(times, reverse=True)[:SLOWEST]:
            print(f"  {seconds:6.2f} s  {cell.strip().splitlines()[0][:90]}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
