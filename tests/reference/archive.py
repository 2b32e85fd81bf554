"""Write archive.zip: one stored and one deflated file, made by Python's zipfile."""

import pathlib
import zipfile

with zipfile.ZipFile(pathlib.Path(__file__).with_name("archive.zip"), "w") as archive:
    for name, method, text in (
        ("folder/stored.txt", zipfile.ZIP_STORED, "stored as it is\n"),
        ("folder/deflated.txt", zipfile.ZIP_DEFLATED, "a line that repeats\n" * 100),
    ):
        archive.writestr(zipfile.ZipInfo(name, (2019, 8, 8, 0, 0, 0)), text, method)
