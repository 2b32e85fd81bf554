"""A session with the kernel `genailab` in `jupyter console`.

Usage: console.py FOLDER

Needs the packages jupyter-console and pexpect, and the kernel registered (`install`) and prepared.
"""

import re
import sys

import pexpect

# Seconds. A first cell waits for the kernel's start, on a busy machine.
PATIENCE = 300
COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

# What is typed, and what has to be shown then.
SESSION = [
    ("let answer: i32 = 6 * 7;", r"In \[2\]"),
    ("answer", r"Out\[2\]: 42"),
    ('println!("{} kept", answer)', "42 kept"),
    ('let wrong: i32 = "one";', "mismatched types"),
    ('panic!("planted")', "planted"),
    ("answer + 1", r"Out\[\d+\]: 43"),
]


class Plain:
    """Collects what the console shows, without colours."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += COLOUR.sub("", text)

    def flush(self):
        pass


def main():
    (folder,) = sys.argv[1:]
    arguments = ["-m", "jupyter_console", "--kernel", "genailab", "--simple-prompt"]
    console = pexpect.spawn(sys.executable, arguments, cwd=folder, encoding="utf-8", timeout=PATIENCE, dimensions=(50, 160))
    shown = Plain()
    console.logfile_read = shown
    try:
        console.expect(r"In \[1\]")
        for typed, expected in SESSION:
            console.sendline(typed)
            console.expect(expected)
            print(f"ok: {typed}", flush=True)
        console.sendline("exit")
        console.expect(pexpect.EOF)
    except pexpect.ExceptionPexpect:
        print(shown.text)
        raise
    finally:
        console.close(force=True)


if __name__ == "__main__":
    main()
