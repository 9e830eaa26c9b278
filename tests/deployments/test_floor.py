"""The pools of a floor, and the settings its processes get."""

import socket
from collections import Counter
from pathlib import Path

import pytest

from deployments import prefect_yaml
from deployments.floor import pools, read_floor_file, this_floor
from deployments.settings import FIRST_PORT, HOST, House, choose_port, process_env
from deployments.worker import assert_locked, locked_version
from pitboss.errors import BadInput
from tests.deployments import floors


def test_without_a_gpu_there_are_two_cpu_pools() -> None:
    control, *workers = floors.floor()
    assert (control.name, [pool.name for pool in workers]) == ("control", ["gpu-0", "gpu-1"])
    for pool in workers:
        assert pool.limit == 1
        assert pool.env == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("gpus", [1, 8])
def test_each_gpu_is_a_pool_and_has_every_deployment(gpus: int) -> None:
    floor = floors.floor(gpus)
    names = {f"gpu-{index}" for index in range(gpus)}
    assert {pool.name for pool in floor} == {"control"} | names
    document = prefect_yaml.check(prefect_yaml.FILE, floor, {"PITBOSS_ROOT": "/some where"})
    used = Counter(entry["work_pool"]["name"] for entry in document["deployments"])
    assert used.keys() == {"control"} | names
    assert len({used[name] for name in names}) == 1


def test_each_gpu_is_a_pool_that_sees_only_itself() -> None:
    _, *workers = pools(floors.FILE, {0: "H100", 3: "H100"})
    assert [pool.name for pool in workers] == ["gpu-0", "gpu-3"]
    assert workers[1].env["CUDA_VISIBLE_DEVICES"] == "3"
    assert workers[1].env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_a_floor_can_name_its_gpus(tmp_path: Path) -> None:
    path = tmp_path / "floor.toml"
    path.write_text(
        "[control]\nlimit = 4\n[gpu]\ndevices = [1]\nthreads = 4\n[cpu]\npools = 2\nthreads = 1\n"
    )
    floor = read_floor_file(path)
    assert [pool.name for pool in pools(floor, {0: "a", 1: "b"})] == ["control", "gpu-1"]
    with pytest.raises(BadInput, match=r"names GPUs \[1\]"):
        pools(floor, {0: "a"})


def test_the_floor_file_of_this_machine_can_be_read() -> None:
    assert this_floor()[0].name == "control"


@pytest.mark.parametrize("text", ["[control]\nlimit = 0", "[controll]\nlimit = 1", "limit ="])
def test_a_wrong_floor_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "floor.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match="floor file cannot be read"):
        read_floor_file(path)


def test_settings_for_another_server_do_not_leak_in(tmp_path: Path) -> None:
    place = House(tmp_path, tmp_path / "home", tmp_path / "results")
    outside = {
        "PREFECT_API_URL": "https://example.org/api",
        "PREFECT_API_KEY": "secret",
        "PREFECT_PROFILE": "cloud",
        "PREFECT_SERVER_API_AUTH_STRING": "me:pass",
        "PATH": "/bin",
    }
    env = process_env(place, 4321, outside)
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert "PREFECT_API_KEY" not in env and "PREFECT_PROFILE" not in env
    assert env["PREFECT_SERVER_API_AUTH_STRING"] == "me:pass"
    assert env["PREFECT_HOME"].startswith(str(tmp_path))
    assert env["PATH"].endswith(":/bin")


def test_a_taken_port_is_passed_over_or_named() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"Port {port} is taken"):
            choose_port({"PITBOSS_PORT": str(port)})
        assert choose_port({}) >= FIRST_PORT
    assert choose_port({"PITBOSS_PORT": str(port)}) == port
    with pytest.raises(BadInput, match="not a port"):
        choose_port({"PITBOSS_PORT": "eighty"})


def test_a_worker_refuses_another_prefect_than_the_locked_one(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("torch==2.13.0\nprefect==3.8.8\n")
    assert locked_version("prefect", lock) == "3.8.8"
    assert_locked("prefect", "3.8.8", lock)
    with pytest.raises(BadInput, match=r"prefect 3\.9\.1 is installed"):
        assert_locked("prefect", "3.9.1", lock)
    with pytest.raises(BadInput, match="pins no numpy"):
        assert_locked("numpy", "2.4.6", lock)
