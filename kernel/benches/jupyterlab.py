"""What the kernel `genailab` looks like in JupyterLab, in a browser without a window: checks, and pictures to look at.

Usage: jupyterlab.py NOTEBOOKS_FOLDER PICTURES_FOLDER [CHROMIUM]
       jupyterlab.py --chapter NOTEBOOK PICTURES_FOLDER [CHROMIUM]

The second form copies a notebook of the course into a folder outside the repository, whose name has a space, runs all
its cells there, and checks that none failed and that its figures are shown.

Needs the packages jupyterlab and playwright, a Chromium (by default the one on the path), and the kernel registered
(`install`) and prepared. The first form writes a notebook into NOTEBOOKS_FOLDER and removes it again.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import nbformat
from playwright.sync_api import sync_playwright

# Milliseconds. A first cell waits for the kernel's start, on a busy machine.
PATIENCE = 300_000
NAME = "jupyterlab-check.ipynb"

SETUP = """use genailab::prelude::*;
use genailab::show::{Align, Grid, Panel, Series, training_curves};
let data: std::sync::Arc<Dataset> = std::sync::Arc::new(Dataset::simulated(7));
let split: Split = data.split(&SplitPlan::default()).unwrap();
let training: TrainingData = TrainingData::of_dataset(data.clone(), &split, 0).unwrap();
println!("{} cells", data.n_cells());"""
FIT = """let settings: VaeSettings = VaeSettings {
    train: TrainConfig { epochs: EPOCHS, early_stopping: None, ..TrainConfig::default() },
    ..VaeSettings::default()
};
let (vae, history) = CountVae::fit(&training, &settings, &mut Run::new(0)).unwrap();"""
FIGURES = """fn figure(title: &str) -> genailab::show::Figure {
    let x: Vec<f64> = (0..50).map(f64::from).collect();
    let y = x.iter().map(|x| (x / 5.0).sin()).collect();
    let series = vec![Series::new("sine", x, y)];
    training_curves(title, "step", &[Panel { y_label: "value".into(), series }]).unwrap()
}
println!("before both");
figure("The first").show();
println!("between them");
figure("The second").show();
println!("after both");"""
ERROR = """let right: i32 = 1;
let wrong: i32 = "one";"""
AFTER = """println!("{} epochs, {} genes", history.epochs.len(), training.genes.len());"""
COMPLETION = "data.n_ce"
INSPECTION = "Dataset::open"

CELLS = [SETUP, FIT.replace("EPOCHS", "6"), FIGURES, ERROR, FIT.replace("EPOCHS", "100_000"), AFTER, COMPLETION,
         INSPECTION]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Lab:
    """JupyterLab with one notebook, and the page that shows it."""

    def __init__(self, page, pictures):
        self.page = page
        self.pictures = pictures

    def cell(self, number):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def select(self, number):
        self.cell(number).locator(".cm-content").click()
        # From editing to the notebook's own keys.
        self.page.keyboard.press("Escape")

    def begin(self, number):
        self.select(number)
        self.page.keyboard.press("Control+Enter")

    def wait(self, number):
        """Until the cell has a number in place of its star."""
        prompt = self.cell(number).locator(".jp-InputArea-prompt")
        deadline = time.monotonic() + PATIENCE / 1000
        while not any(c.isdigit() for c in prompt.inner_text()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"cell {number} does not end")
            # The page works only while it is waited for like this.
            self.page.wait_for_timeout(200)

    def run(self, number):
        self.begin(number)
        self.wait(number)
        return self.output(number)

    def output(self, number):
        return self.cell(number).locator(".jp-Cell-outputArea").inner_text()

    def picture(self, name, number=None):
        if number is not None:
            self.cell(number).scroll_into_view_if_needed()
        self.page.screenshot(path=str(self.pictures / f"{name}.png"))


def check(condition, *about):
    if not condition:
        raise AssertionError(about)


def first_cell(lab):
    text = lab.run(0)
    check("cells" in text, text)


def training(lab):
    """The bar moves and the curve grows, in one output that is replaced."""
    lab.begin(1)
    bar = lab.cell(1).locator("progress")
    bar.first.wait_for(timeout=PATIENCE)
    values = [float(bar.get_attribute("value"))]
    lab.picture("1-bar", 1)
    lab.cell(1).locator("svg polyline").first.wait_for(timeout=PATIENCE)
    lab.picture("2-curve", 1)
    lab.wait(1)
    values.append(float(bar.get_attribute("value")))
    lab.picture("3-curve-done", 1)
    check(bar.count() == 1 and values[0] < values[1], "the bar moves", values)


def figures(lab):
    lab.run(2)
    outputs = lab.cell(2).locator(".jp-OutputArea-output")
    kinds = ["svg" if outputs.nth(n).locator("svg").count() else outputs.nth(n).inner_text().strip()
             for n in range(outputs.count())]
    check(kinds == ["before both", "svg", "between them", "svg", "after both"], kinds)
    lab.picture("4-two-figures", 2)


def error(lab):
    text = lab.run(3)
    check("E0308" in text and "line 2, column 18" in text, text)
    lab.picture("5-error", 3)


def interruption(lab):
    lab.begin(4)
    lab.cell(4).locator("svg polyline").first.wait_for(timeout=PATIENCE)
    lab.select(4)
    lab.page.keyboard.press("i")
    lab.page.keyboard.press("i")
    lab.wait(4)
    text = lab.output(4)
    check("Interrupted" in text and "all variables are kept" in text, text)
    lab.picture("6-interrupted", 4)
    text = lab.run(5)
    check(int(text.split()[0]) > 0, text)
    lab.picture("7-after", 5)


def help_for(lab):
    lab.cell(6).locator(".cm-content").click()
    lab.page.keyboard.press("End")
    lab.page.keyboard.press("Tab")
    # A single candidate is put in at once.
    lab.page.wait_for_function(
        "n => document.querySelectorAll('.jp-Notebook .jp-CodeCell')[n].innerText.includes('n_cells')"
        " || document.querySelector('.jp-Completer')?.innerText.includes('n_cells')",
        arg=6, timeout=PATIENCE)
    lab.picture("8-completion", 6)
    lab.page.keyboard.press("Escape")
    lab.cell(7).locator(".cm-content").click()
    lab.page.keyboard.press("End")
    lab.page.keyboard.press("Shift+Tab")
    tooltip = lab.page.locator(".jp-Tooltip")
    tooltip.wait_for(timeout=PATIENCE)
    check("pub fn open" in tooltip.inner_text(), tooltip.inner_text())
    lab.picture("9-tooltip", 7)


def chapter(lab, path):
    """Runs all cells of a chapter; what they showed is read from the file that JupyterLab saves."""
    menu = lab.page.get_by_role("menubar")
    menu.get_by_text("Run", exact=True).click()
    lab.page.get_by_text("Run All Cells", exact=True).click()
    deadline = time.monotonic() + 1_800
    while True:
        lab.page.wait_for_timeout(5_000)
        lab.page.keyboard.press("Control+s")
        code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        outputs = [output for cell in code for output in cell["outputs"]]
        failed = [output["evalue"] for output in outputs if output["output_type"] == "error"]
        check(not failed, failed)
        if all(cell["execution_count"] for cell in code):
            break
        check(time.monotonic() < deadline, "it takes more than half an hour")
    figures = sum("<svg" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    check(figures > 0, "no figure")
    # In the middle of the page: at its edge the picture would show the cell and not the figure.
    figure = lab.page.locator(".jp-OutputArea-output svg").last
    figure.evaluate("node => node.scrollIntoView({block: 'center'})")
    lab.page.wait_for_timeout(2_000)
    box = figure.bounding_box()
    check(box and box["width"] > 300 and 0 < box["y"] < 900 - box["height"] / 2, "the last figure is not seen", box)
    lab.picture("chapter")
    print(f"{path.name}: {len(code)} cells, {figures} figures")


@contextlib.contextmanager
def opened(folder, name, pictures, chromium):
    """JupyterLab on `folder`, with the notebook `name` open and its kernel ready."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password=",
               f"--ServerApp.root_dir={folder}", "--allow-root"]
    log = (pictures / "jupyterlab.log").open("w")
    # All cells are in the page, whatever is scrolled; else a figure that is scrolled to moves while the cells around it appear.
    settings = pictures / "settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    environment = {**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(pictures / "settings")}
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 900})
            page.goto(f"{address}/lab/tree/{name}?reset", timeout=PATIENCE)
            page.get_by_text("| Idle").wait_for(timeout=PATIENCE)
            yield Lab(page, pictures)
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=60)


def main():
    arguments = sys.argv[1:]
    whole = arguments[0] == "--chapter"
    source, pictures = (pathlib.Path(argument).resolve() for argument in arguments[whole:][:2])
    chromium = arguments[whole + 2] if len(arguments) > whole + 2 else shutil.which("chromium")
    pictures.mkdir(parents=True, exist_ok=True)
    if whole:
        with tempfile.TemporaryDirectory(prefix="outside the repository ") as folder:
            path = pathlib.Path(shutil.copy(source, folder))
            with opened(folder, path.name, pictures, chromium) as lab:
                chapter(lab, path)
        return
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata = {"kernelspec": {"name": "genailab", "display_name": "Rust (genailab)", "language": "rust"}}
    nbformat.write(notebook, source / NAME)
    try:
        with opened(source, NAME, pictures, chromium) as lab:
            lab.cell(0).wait_for(timeout=PATIENCE)
            begun = time.monotonic()
            for part in (first_cell, training, figures, error, interruption, help_for):
                try:
                    part(lab)
                except BaseException:
                    lab.picture(f"failed-{part.__name__}")
                    raise
                print(f"{part.__name__}: ok after {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        (source / NAME).unlink()


if __name__ == "__main__":
    main()
