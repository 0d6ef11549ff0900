"""The program of a probe pod: a server whose clients control its responses, and a writer of log lines."""

import os
import socket
import sys
import threading
import time

BLOCK = bytes(range(256)) * 4096


def serve(connection):
    """Handles all requests of one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as reader:
        for line in reader:
            word, *numbers = line.split()
            if word == b"name":
                connection.sendall(os.environ["POD"].encode() + b"\n")
            elif word == b"echo":
                connection.sendall(reader.read(int(numbers[0])))
            elif word == b"bytes":
                for _ in range(int(numbers[0])):
                    connection.sendall(BLOCK)
            elif word == b"think":
                time.sleep(float(numbers[0]))
                connection.sendall(b"thought\n")
            elif word == b"close":
                return


def listen():
    server = socket.create_server(("", 8000), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    while True:
        threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()


def write(rate, seconds):
    """Writes numbered lines with their time, in ten batches per second."""
    begun, number = time.time(), 0
    while number < rate * seconds:
        now = time.time()
        due = min(int((now - begun) * rate), rate * seconds)
        sys.stdout.write("".join(f"line {n} written at {now:.6f} by a container that has much to say\n"
                                 for n in range(number, due)))
        sys.stdout.flush()
        number = due
        time.sleep(max(0.0, 0.1 - (time.time() - now)))


if sys.argv[1:2] == ["write"]:
    write(int(sys.argv[2]), int(sys.argv[3]))
    if sys.argv[4:] == ["end"]:
        sys.exit()
threading.Thread(target=listen, daemon=False).start()
