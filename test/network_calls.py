# SPDX-License-Identifier: Apache-2.0
"""Whom the processes that a test starts want to reach."""

import shutil
import subprocess
import sys
from collections.abc import Callable

# Put before libc's functions, writes down whom a process wants to reach: a look-up takes less time
# than lies between two looks at the open sockets.
LISTENER = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void write_down(const char *what, const char *whom) {
  int file = open(getenv("TEST_CALLS"), O_WRONLY | O_APPEND | O_CREAT, 0600);
  dprintf(file, "%s %s\n", what, whom);
  close(file);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
      dlsym(RTLD_NEXT, "getaddrinfo");
  if (name) write_down("look-up", name);
  return real(name, service, hints, found);
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET)
    inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
  if (address->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
  if (*text) write_down("connection", text);
  return real(fd, address, size);
}
"""


def listen(folder, monkeypatch) -> Callable[[], set[str]] | None:
    """From now on, processes that are started write down what they look up and connect to: what is
    returned reads it. None where there is no compiler. `folder` takes its files."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    calls = folder / "calls"
    (folder / "listener.c").write_text(LISTENER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "listener.so",
                    folder / "listener.c", "-ldl"], check=True)  # fmt: skip
    monkeypatch.setenv("LD_PRELOAD", str(folder / "listener.so"))
    monkeypatch.setenv("TEST_CALLS", str(calls))
    subprocess.run([sys.executable, "-c", "import socket; socket.getaddrinfo('127.0.0.9', 1)"])
    assert "127.0.0.9" in calls.read_text()  # it does listen
    return lambda: set(calls.read_text().split("\n")[1:-1])
