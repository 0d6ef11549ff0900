"""Runs AIPerf once for each measurement of a benchmark, in a pod.

Needs only Python and AIPerf. It reports to standard output, because a log can be read without the permission to execute
commands in a pod: lines that start with MARK are JSON for the plugin, and all others are AIPerf's output. A file is
compressed and split, because container runtimes split lines at 16 KiB.
"""

import base64
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib

MARK = "@bench "
PART_LENGTH = 12000
SUMMARY = "profile_export_aiperf.json"
REQUESTS = "profile_export.jsonl"
FILES = (SUMMARY, REQUESTS, "profile_export_aiperf.csv")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tiktoken.model")

output = threading.Lock()
running = None
stopping = False


def write_line(line):
    with output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def report(event, **fields):
    write_line(MARK + json.dumps({"event": event, **fields}))


def send_file(measurement, name, path):
    with open(path, "rb") as file:
        content = file.read()
    encoded = base64.b64encode(zlib.compress(content, 9)).decode()
    parts = [encoded[at : at + PART_LENGTH] for at in range(0, len(encoded), PART_LENGTH)] or [""]
    digest = hashlib.sha256(content).hexdigest()
    for part, data in enumerate(parts):
        report("file", measurement=measurement, name=name, part=part, parts=len(parts), sha256=digest, data=data)


def print_output(stream):
    for line in stream:
        write_line(line.rstrip("\r\n"))


def report_progress(measurement, folder, process):
    """Reports the number of finished requests until the process exits."""
    path, position, lines = os.path.join(folder, REQUESTS), 0, 0
    while process.poll() is None:
        time.sleep(1)
        try:
            with open(path, "rb") as file:
                file.seek(position)
                added = file.read()
        except OSError:
            continue
        position += len(added)
        if added:
            lines += added.count(b"\n")
            report("progress", measurement=measurement, requests=lines)


def measure(measurement, plan):
    """Runs AIPerf. Returns whether it measured."""
    global running
    folder = plan["folder"]
    os.makedirs(folder)
    report("started", measurement=measurement)
    running = subprocess.Popen(
        ["aiperf"] + plan["arguments"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    reader = threading.Thread(target=print_output, args=(running.stdout,), daemon=True)
    reader.start()
    report_progress(measurement, folder, running)
    # A process that AIPerf left behind can keep the pipe open.
    reader.join(10)
    for name in FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            send_file(measurement, name, path)
    report("measured", measurement=measurement, exitCode=running.returncode)
    return os.path.isfile(os.path.join(folder, SUMMARY))


def stop(_number, _frame):
    """Lets AIPerf write what it has measured. The pod is killed after its grace period."""
    global stopping
    stopping = True
    if running is not None and running.poll() is None:
        running.send_signal(signal.SIGINT)


def stop_at_deadline():
    """The deadline of the Job comes later. It deletes the pod, and with it the log."""
    report("failed", reason="deadlineExceeded")
    os.kill(os.getpid(), signal.SIGTERM)


def problem(plan):
    """Returns why AIPerf cannot run."""
    tokenizer = plan["tokenizer"]
    if not any(os.path.isfile(os.path.join(tokenizer, name)) for name in TOKENIZERS):
        return "tokenizerNotFound"
    if shutil.which("aiperf") is None:
        return "aiperfNotFound"
    return None


def main():
    plan = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, stop)
    timer = threading.Timer(plan["deadlineSeconds"], stop_at_deadline)
    timer.daemon = True
    timer.start()
    found = problem(plan)
    if found is not None:
        report("failed", reason=found)
        sys.exit(1)
    if plan["trace"] is not None:
        with gzip.open(plan["trace"]["compressed"]) as source, open(plan["trace"]["path"], "wb") as target:
            shutil.copyfileobj(source, target)
    for measurement, one in enumerate(plan["measurements"]):
        # After a failure, the next levels would fail in the same way.
        if stopping or not measure(measurement, one):
            sys.exit(1)
    if stopping:
        sys.exit(1)
    report("finished")


if __name__ == "__main__":
    main()
