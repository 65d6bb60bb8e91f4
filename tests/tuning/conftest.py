"""A PostgreSQL server for studies that many hosts share."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server of this session's own, reached by a socket in its folder."""
    psycopg = pytest.importorskip("psycopg")
    initdb, postgres = shutil.which("initdb"), shutil.which("postgres")
    if initdb is None or postgres is None:
        pytest.skip("needs PostgreSQL's initdb and postgres on the path")
    user = _user()
    with tempfile.TemporaryDirectory(prefix="alexnet-pg-") as name:  # sockets want short paths
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        quiet = {"user": user, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        data = str(folder / "data")
        make = [initdb, "--pgdata", data, "--username", "alexnet", "--auth", "trust", "--no-sync"]
        subprocess.run(make, check=True, cwd=folder, **quiet)  # type: ignore[call-overload]
        serve = [postgres, "-D", data, "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"]
        server = subprocess.Popen(serve, cwd=folder, **quiet)  # type: ignore[call-overload]
        try:
            while True:
                assert server.poll() is None, "the server has ended"
                try:
                    psycopg.connect(f"host={name} user=alexnet dbname=postgres").close()
                    break
                except psycopg.OperationalError:
                    time.sleep(0.05)
            yield f"postgresql+psycopg://alexnet@/postgres?host={name}"
        finally:
            server.send_signal(signal.SIGINT)  # at once; SIGTERM waits for clients to leave
            server.wait()


def _user() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
