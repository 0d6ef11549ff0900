"""Downloads the wheels of the releases in release/catalog.rs with pip, for the scripts that read tables from them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOG = ROOT / "kubectl-dynamo/core/src/release/catalog.rs"
PLATFORMS = ["manylinux_2_35_x86_64", "manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"]


def rows():
    """Returns the versions of Dynamo and vLLM in each row of the catalog."""
    text = CATALOG.read_text().split("pub const CATALOG", 1)[1]
    numbers = re.findall(r'"(\d+\.\d+\.\d+)"|"vllm(?:\[[^\]]*\])?==([0-9.]+)"', text)
    found = [(dynamo, vllm) for (dynamo, _), (_, vllm) in zip(numbers[::2], numbers[1::2], strict=True)]
    if not found:
        sys.exit("no rows found in the catalog")
    return found


def wheel(name, version, folder):
    """Downloads one wheel without its dependencies and returns its path."""
    command = ["pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run([*command, "--dest", str(folder), f"{name}=={version}"], check=True, stdout=subprocess.DEVNULL)
    (path,) = folder.glob(f"{name.replace('-', '_')}-{version}*.whl")
    return path
