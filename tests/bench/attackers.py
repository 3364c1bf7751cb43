#!/usr/bin/env python3
"""Those who attack a server for so many seconds: attackers.py KIND PORT SECONDS.

Each kind is a function that goes on until its time is up, on 127.0.0.1 only.
Says "ready" when its connections are there, and at the end what it has done.
"""
import os
import resource
import selectors
import socket
import struct
import sys
import time

HEAD = (b"POST /models/cifar10/predict HTTP/1.1\r\nHost: a\r\n"
        b"Content-Type: application/octet-stream\r\n")
LIMIT = 16384  # descriptors, of servers and attackers
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class Attack:
    def __init__(self, port, seconds):
        self.port, self.until = port, time.monotonic() + seconds
        self.done = 0

    def goes_on(self):
        return time.monotonic() < self.until

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def many(self, count):
        connections = [self.connect() for _ in range(count)]
        print("ready", flush=True)
        return connections


def idle(attack):
    """10,000 connections that say nothing."""
    connections = attack.many(10000)
    while attack.goes_on():
        time.sleep(0.1)
    attack.done = len(connections)


def drip(attack, count, beginning):
    """A byte a second on each connection."""
    connections = attack.many(count)
    for one in connections:
        one.sendall(beginning)
    while attack.goes_on():
        for one in connections:
            try:
                one.sendall(b"x")
                attack.done += 1
            except OSError:
                pass
        time.sleep(1)


def slow_heads(attack):
    drip(attack, 1000, b"GET / HTTP/1.1\r\nHost: a\r\nX: ")


def slow_bodies(attack):
    drip(attack, 1000, HEAD + b"Content-Length: 60000\r\n\r\n")


def stopped_readers(attack):
    """Ask for 300 KB again and again, and read nothing."""
    connections = attack.many(500)
    request = b"GET /models/cifar10/weights HTTP/1.1\r\nHost: a\r\n\r\n"
    for one in connections:
        one.setblocking(False)
    while attack.goes_on():
        for one in connections:
            try:
                one.send(request)
                attack.done += 1
            except OSError:
                pass
        time.sleep(0.2)


def flood(attack):
    """Connects and goes, as fast as it can."""
    attack.many(0)
    while attack.goes_on():
        one = attack.connect()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()
        attack.done += 1


def vanish(attack):
    """Goes in the middle of a body."""
    attack.many(0)
    half = HEAD + b"Content-Length: 3072\r\n\r\n" + bytes(1500)
    while attack.goes_on():
        one = attack.connect()
        one.sendall(half)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()
        attack.done += 1


def refused(attack, request):
    """What is answered 400, each on a connection of its own."""
    attack.many(0)
    while attack.goes_on():
        with attack.connect() as one:
            one.sendall(request)
            answer = one.recv(4096)
        if b" 400 " not in answer[:16]:
            sys.exit(f"answered {answer[:80]}")
        attack.done += 1


def smuggled(attack):
    refused(attack, HEAD + b"Content-Length: 3072\r\nContent-Length: 1\r\n\r\n")


def bad_numbers(attack):
    body = b'{"pixels": [' + b"1," * 3071 + b"x]}"
    refused(attack, b"POST /models/cifar10/predict HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


def pipelined(attack):
    """Eight connections that send requests without waiting for answers."""
    connections = attack.many(8)
    requests = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 200
    ready = selectors.DefaultSelector()
    for one in connections:
        one.setblocking(False)
        ready.register(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while attack.goes_on():
        for key, events in ready.select(0.1):
            try:
                if events & selectors.EVENT_READ:
                    attack.done += key.fileobj.recv(1 << 16).count(b"HTTP/1.1")
                if events & selectors.EVENT_WRITE:
                    key.fileobj.send(requests)
            except BlockingIOError:
                pass


KINDS = {"10,000 idle connections": idle,
         "1,000 slow heads": slow_heads,
         "1,000 slow bodies": slow_bodies,
         "500 who never read": stopped_readers,
         "connections without end": flood,
         "gone in the middle of a body": vanish,
         "two lengths": smuggled,
         "bad numbers": bad_numbers,
         "pipelining without end": pipelined}


def main():
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    # Who is measured beside has the processor first.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    attack = Attack(port, seconds)
    KINDS[name](attack)
    print(attack.done, flush=True)
    os._exit(0)  # 10,000 connections are closed faster by the system


if __name__ == "__main__":
    main()
