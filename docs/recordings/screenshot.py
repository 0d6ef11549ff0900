#!/usr/bin/env python3
"""screenshot.py PAGE PICTURE [--width PIXELS] [--height PIXELS] [--dark]: draws an HTML file as a PNG with headless Chromium.

Set CHROMIUM to the program if it is not in PATH. The picture is as high as the page, unless --height cuts it. To draw the page of a benchmark:

    kubectl dynamo bench show RUN -o html > run.html
    docs/recordings/screenshot.py run.html docs/recordings/bench.png --height 1730
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

NAMES = ["chromium", "chromium-browser", "google-chrome"]
MAX_HEIGHT = 20000


def browser():
    """Returns the path of Chromium."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found or sys.exit("Chromium not found; install it, or set CHROMIUM to the program")


def run(program, arguments, page):
    """Runs Chromium on a page with an empty profile and returns its output."""
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless=new", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        # Chromium refuses its sandbox for root.
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        result = subprocess.run(command + arguments + [page], capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        sys.exit(f"Chromium failed with exit code {result.returncode}:\n{result.stderr}")
    return result.stdout


def height_of(program, page, width):
    """Returns the height of a page in pixels: the page itself reports it, in a copy with a script at its end."""
    script = "<script>document.documentElement.setAttribute('data-height', document.body.scrollHeight + 32)</script>"
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as copy:
        copy.write(page.read_text(encoding="utf-8") + script)
        copy.flush()
        text = run(program, [f"--window-size={width},800", "--dump-dom"], f"file://{copy.name}")
    found = re.search(r'data-height="(\d+)"', text)
    return min(int(found.group(1)), MAX_HEIGHT) if found else sys.exit("the height of the page is unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("picture", type=pathlib.Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    program, page = browser(), options.page.resolve()
    height = options.height or height_of(program, page, options.width)
    arguments = [f"--window-size={options.width},{height}", f"--screenshot={options.picture.resolve()}"]
    arguments += ["--blink-settings=preferredColorScheme=0"] if options.dark else []
    run(program, arguments, f"file://{page}")


if __name__ == "__main__":
    main()
