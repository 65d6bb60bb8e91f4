"""Two hosts: network namespaces with addresses of their own, joined by a virtual link."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_runs import last_step, new_run, wait_until_gone, workers

from alexnet.config import read_config
from alexnet.model.changes import resolve
from alexnet.parallel.volume import volume
from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints

_ADDRESSES = ("10.201.77.1", "10.201.77.2")


def ip(*arguments: str) -> bool:
    if shutil.which("ip") is None:
        return False
    return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The names of two namespaces, connected."""
    names = [f"alexnet-{os.getpid()}-{letter}" for letter in "ab"]
    links = [f"ax{os.getpid() % 100_000}{letter}" for letter in "ab"]
    made = all(ip("netns", "add", name) for name in names) and ip(
        "link", "add", links[0], "type", "veth", "peer", "name", links[1]
    )
    try:
        if not made:
            pytest.skip("network namespaces can be made only by root")
        for name, link, address in zip(names, links, _ADDRESSES, strict=True):
            assert ip("link", "set", link, "netns", name)
            assert ip("-n", name, "link", "set", link, "name", "veth0")
            assert ip("-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            assert ip("-n", name, "link", "set", "veth0", "up")
            assert ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def start(host: str, address: str, run: Path, log: Path) -> subprocess.Popen:
    """torchrun as one of two nodes; their meeting point is on the first."""
    command = [
        *("ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", "2", "--nproc-per-node", "1", "--monitor-interval", "0.1"),
        *("--rdzv-backend", "c10d", "--rdzv-id", run.name),
        *("--rdzv-endpoint", f"{_ADDRESSES[0]}:29400", "--local-addr", address),
        # Names do not resolve in a namespace, so the first host cannot tell that it is the host.
        *("--rdzv-conf", f"is_host={int(address == _ADDRESSES[0])}"),
        *("-m", "alexnet", "train", "--resume", str(run), "--layout", "columns"),
    ]
    variables = os.environ | {"GLOO_SOCKET_IFNAME": "veth0"}
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=variables)


def sent_bytes(host: str) -> int:
    """What a host has put on the wire."""
    done = subprocess.run(
        ["ip", "netns", "exec", host, "cat", "/sys/class/net/veth0/statistics/tx_bytes"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_a_late_host_is_awaited_and_a_cut_link_is_noticed(
    hosts: list[str], image_folder: Path, tmp_path: Path
) -> None:
    changes = ("train.timeout_seconds=15", "train.epochs=10000")
    run = new_run(image_folder, tmp_path / "run", *changes)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    nodes = [start(hosts[0], _ADDRESSES[0], run, logs[0])]
    try:
        time.sleep(2.0)  # the second host starts late
        nodes.append(start(hosts[1], _ADDRESSES[1], run, logs[1]))
        while last_step(run) < 4:
            assert all(node.poll() is None for node in nodes), logs[0].read_text()
            time.sleep(0.02)
        first_step, first_bytes = last_step(run), sent_bytes(hosts[0])
        while last_step(run) < first_step + 40:
            time.sleep(0.02)
        steps, sent = last_step(run) - first_step, sent_bytes(hosts[0]) - first_bytes
        assert ip("-n", hosts[0], "link", "set", "veth0", "down")
        line = ""
        while not line and any(node.poll() is None for node in nodes):
            time.sleep(0.1)
            texts = "".join(log.read_text() for log in logs).splitlines()
            line = next((text for text in texts if "has lost another one" in text), "")
        assert line.startswith("alexnet: process"), "".join(log.read_text() for log in logs)
    finally:
        ranks = [pid for node in nodes for pid in workers(node.pid)]
        for node in nodes:
            node.kill()
            node.wait()
        for pid in ranks:
            wait_until_gone(pid)
    assert checkpoints(run / "checkpoints")
    assert len(read_rows(run / "metrics.jsonl")) > 0
    # The wire carries the exchanges of every step; wholes for each checkpoint come on top.
    model = read_config(run / "config.json").model
    least = steps * volume(resolve(model), 3, "columns", 2, 15, 4).exchange
    assert sent > least
