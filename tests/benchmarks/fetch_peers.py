"""Support for tests/bench fetch: the programs, the hub, one run of a client, and a cgroup."""
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("KUBECTL_DYNAMO_TEST_CACHE")
                     or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
                     / "kubectl-dynamo-tests")
MODEL = "bench/model"
# hf_transfer only works with huggingface_hub before 1.0; 0.36 is the last such version.
PYTHONS = {"huggingface_hub": ["huggingface_hub==2.4.0"],
           "hf_transfer": ["huggingface_hub==0.36.2", "hf_transfer==0.1.9"]}
SNAPSHOT = "import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1], local_dir=sys.argv[2])"


def build(scratch, *features):
    """Returns release builds of this tree by program name, copied to a folder that other builds do not change."""
    wanted = ["model-fetcher"] if features else ["model-fetcher", "test-hub", "hf-hub-snapshot"]
    command = ["cargo", "build", "--release", "--locked", "--message-format=json", "-p", "model-fetcher",
               *(f"--bin={name}" for name in wanted), *(f"--features=model-fetcher/{feature}" for feature in features)]
    command += [] if features else ["-p", "kubectl-dynamo-tests"]
    messages = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    artifacts = (json.loads(line) for line in messages.splitlines())
    folder = scratch / "-".join(["programs", *features])
    folder.mkdir()
    return {artifact["target"]["name"]: pathlib.Path(shutil.copy(artifact["executable"], folder))
            for artifact in artifacts if artifact.get("executable")}


def python(packages):
    """Returns a Python with these packages, created once in the cache folder."""
    folder = CACHE / "-".join(package.replace("==", "-").replace("_", "-") for package in packages)
    place = folder / "bin/python"
    modules = ", ".join(package.split("==")[0] for package in packages)
    usable = [str(place), "-c", f"import {modules}"]
    if not place.exists() or subprocess.run(usable, stderr=subprocess.DEVNULL).returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([place, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
    return place


def programs(scratch):
    """Returns all programs for the benchmark."""
    unverified = build(scratch, "benchmark-unverified")["model-fetcher"]
    found = build(scratch) | {"unverified": unverified}
    for name, packages in PYTHONS.items():
        found[name] = python(packages)
    return found


def make_model(folder, shards, shard_bytes, small):
    """Creates random shards and small files, the same for the same arguments."""
    folder.mkdir(parents=True)
    chance = random.Random(7)
    for shard in range(shards):
        with open(folder / f"model-{shard + 1:05}-of-{shards:05}.safetensors", "wb") as file:
            for _ in range(shard_bytes >> 20):
                file.write(chance.randbytes(1 << 20))
    for index in range(small):
        (folder / f"small-{index}.json").write_bytes(chance.randbytes(2000 + index))
    return folder


class Hub:
    """Runs test-hub with its content in memory, so that it uses little CPU."""

    def __init__(self, found, folder, flags, scratch):
        self.total = sum(file.stat().st_size for file in folder.iterdir())
        self.authority = scratch / "authority.pem"
        if "--tls" in flags:
            flags = [*flags, "--authority", str(self.authority)]
        command = [found["test-hub"], "--repo", f"{MODEL}={folder}", "--content", "memory", *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        if not ready:
            sys.exit("test-hub did not start")
        self.url = ready[1]

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def statistics(self):
        self.ask("statistics")
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.authority.unlink(missing_ok=True)


def command(client, found, into):
    if client in ("model-fetcher", "unverified", "previous"):
        words = [found[client], "fetch", MODEL, "--into", into, "--progress", "none"]
    elif client == "hf-hub":
        words = [found["hf-hub-snapshot"], MODEL, into / MODEL]
    else:
        words = [found[client], "-c", SNAPSHOT, MODEL, into / MODEL]
    return [str(word) for word in words]


def environment(hub, into):
    variables = {"HF_ENDPOINT": hub.url, "PATH": os.environ["PATH"], "HOME": str(into), "HF_HUB_DISABLE_TELEMETRY": "1",
                 "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ENABLE_HF_TRANSFER": "1", "HF_HUB_DISABLE_XET": "1"}
    if hub.authority.exists():
        # hf_transfer and requests use other variable names.
        variables |= dict.fromkeys(["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], str(hub.authority))
    return variables


def empty(into, room=0):
    """Creates an empty volume after all earlier writes are synced. `room` bytes of future page cache memory are touched
    first: a virtual machine's host allocates memory at the first access, which took 3.6 s for 2 GiB on one machine
    and would slow down the first client."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    filler, block = into / "filler", bytes(1 << 20)
    with open(filler, "wb", buffering=0) as file:
        for _ in range(room >> 20):
            file.write(block)
    filler.unlink()
    os.sync()


def measure(client, found, hub, into, before=None):
    """Returns the results of one cold run: wall and CPU seconds, peak MiB, seconds until synced, and the hub's requests."""
    empty(into, room=hub.total)
    hub.ask("forget")
    start = time.monotonic()
    process = subprocess.Popen(command(client, found, into), env=environment(hub, into), stderr=subprocess.PIPE,
                               preexec_fn=before)
    errors = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    os.sync()
    synced = time.monotonic() - start
    received = sum(file.stat().st_size for file in (into / MODEL).rglob("*") if file.is_file() and
                   ".cache" not in file.parts and not file.name.startswith(".model-fetcher"))
    if status or received != hub.total:
        sys.exit(f"{client} exited with {status} and {received} of {hub.total} bytes: {errors}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024, "synced": synced,
            "hub": hub.statistics()}


def milliseconds_to_first_request(program, into):
    """Returns the time from process start to the first bytes of its first request, without a hub."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        start = time.monotonic()
        process = subprocess.Popen([program, "fetch", MODEL, "--into", into, "--progress", "none"],
                                   env={"HF_ENDPOINT": endpoint}, stderr=subprocess.DEVNULL)
        connection, _ = listener.accept()
        connection.recv(1)
        took = time.monotonic() - start
        process.kill()
        process.wait()
        connection.close()
    return took * 1000


class MemoryGroup:
    """A cgroup that counts the page cache, of version 2 or 1, depending on the machine. `make` returns `None` if cgroups
    cannot be created."""

    def __init__(self, place, peak):
        self.place = place
        self.peak = peak

    @classmethod
    def make(cls, limit_bytes):
        root = pathlib.Path("/sys/fs/cgroup")
        is_second = (root / "cgroup.controllers").exists()
        limit, peak = ("memory.max", "memory.peak") if is_second else ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        place = (root if is_second else root / "memory") / f"bench-fetch-{os.getpid()}"
        try:
            place.mkdir()
            (place / limit).write_text(str(limit_bytes))
        except OSError as error:
            print(f"no memory cgroup: {error}", file=sys.stderr)
            return None
        swap = place / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        return cls(place, place / peak)

    def enter(self):
        """Moves a child process into the cgroup before it executes the client."""
        (self.place / "cgroup.procs").write_text(str(os.getpid()))

    def peak_mib(self):
        return int(self.peak.read_text()) / 2**20 if self.peak.exists() else float("nan")

    def remove(self):
        self.place.rmdir()
