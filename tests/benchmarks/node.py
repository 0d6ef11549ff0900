"""The test node with a probe pod, for benchmarks. The calling process is moved into its network namespace."""

import ctypes
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("KUBECTL_DYNAMO_TEST_CACHE") or os.path.expanduser("~/.cache/kubectl-dynamo-tests")


def build(*arguments):
    """Builds with these cargo arguments and returns the programs by name."""
    command = ["cargo", "build", "--message-format=json", *arguments]
    messages = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    artifacts = (json.loads(line) for line in messages.splitlines())
    return {a["target"]["name"]: a["executable"] for a in artifacts if a.get("executable")}


def move_into(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
        sys.exit(f"cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")


class Node:
    """A running node; `pod` is the address of its probe, whose program gets the arguments `words`."""

    def __init__(self, *words):
        program = os.environ.get("TEST_NODE_BIN") or build("-p", "kubectl-dynamo-tests", "--bin", "test-node")["test-node"]
        self.server = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.server.stdout.readline().split()
        if line[:1] != ["ready"]:
            sys.exit("the node did not start")
        _, namespace, kubeconfig, self.pod = line
        self.outside = open("/proc/self/ns/net")
        # Only later actions of this process are inside; the node's programs already are.
        with open(f"/run/netns/{namespace}") as inside:
            move_into(inside)
        os.environ["KUBECONFIG"] = kubeconfig

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Processes that are still inside end with the node.
        move_into(self.outside)
        self.server.stdin.close()
        self.server.wait()
