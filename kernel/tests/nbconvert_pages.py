"""Validate a notebook and say which images and tables nbconvert shows of it.

Usage: nbconvert_pages.py NOTEBOOK

Writes JSON with three pages: of the templates `lab` and `classic` with sanitized HTML, and of `lab` as it is. For each
image of a page, its alternative text and the beginning of its source; for each table, the text of its cells.
"""

import json
import sys

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter


def page(notebook: nbformat.NotebookNode, template: str, sanitize: bool) -> dict:
    html, _ = HTMLExporter(template_name=template, sanitize_html=sanitize).from_notebook_node(notebook)
    soup = BeautifulSoup(html, "html.parser")
    images = [{"alt": image.get("alt"), "source": image["src"].split(",")[0]} for image in soup.find_all("img")]
    tables = [
        [cell.get_text() for cell in table.find_all(["caption", "th", "td"])] for table in soup.find_all("table")
    ]
    return {"images": images, "tables": tables}


def main() -> None:
    notebook = nbformat.read(sys.argv[1], as_version=4)
    nbformat.validate(notebook)
    pages = {
        "lab": page(notebook, "lab", sanitize=True),
        "classic": page(notebook, "classic", sanitize=True),
        "unsanitized": page(notebook, "lab", sanitize=False),
    }
    json.dump(pages, sys.stdout)


if __name__ == "__main__":
    main()
