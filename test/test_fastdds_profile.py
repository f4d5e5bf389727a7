# SPDX-License-Identifier: Apache-2.0
"""Fast DDS gets this package's settings, and keeps what the user has chosen."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from realtalk_ros.commands import doctor
from realtalk_ros.nodes import fastdds_profile, ros_arguments
from realtalk_ros.nodes.fastdds_profile import (
    FASTDDS_PROFILE,
    LOCALHOST_ONLY,
    OUR_PROFILE,
    TRANSPORTS,
    fastdds_version,
    use_fastdds_profile,
)

OLD, NEW = FASTDDS_PROFILE


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (OLD, NEW, OUR_PROFILE, TRANSPORTS, LOCALHOST_ONLY):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    monkeypatch.setattr(fastdds_profile, "room", lambda: 2**30)


def installed(monkeypatch, tmp_path, library, folder="lib"):
    """A ROS 2 whose Fast DDS is `library`."""
    (tmp_path / folder).mkdir(parents=True)
    for name in (library, library.rsplit(".", 1)[0], library.split(".so")[0] + ".so"):
        (tmp_path / folder / name).touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere{os.pathsep}{tmp_path}")


def chosen(images=False):
    use_fastdds_profile(images)
    return {name: Path(os.environ[name]).name for name in FASTDDS_PROFILE if name in os.environ}


@pytest.mark.parametrize("library, folder, version, variable", [
    ("libfastrtps.so.2.6.9", "lib", (2, 6, 9), OLD),
    ("libfastrtps.so.2.14.5", "lib/x86_64-linux-gnu", (2, 14, 5), OLD),
    ("libfastdds.so.3.2.3", "lib", (3, 2, 3), NEW),
])  # fmt: skip
def test_only_the_variable_that_this_fast_dds_reads_is_set(
    monkeypatch, tmp_path, library, folder, version, variable
):
    installed(monkeypatch, tmp_path, library, folder)
    assert fastdds_version() == version
    three = "3" if variable.startswith("FASTDDS") else ""
    assert chosen() == {variable: f"realtalk_fastdds{three}.xml"}
    # What a process inherits from another of this package is not the user's.
    assert chosen(images=True) == {variable: f"realtalk_fastdds{three}_images.xml"}
    assert Path(os.environ[variable]).is_file()


def test_an_unknown_fast_dds_gets_both(monkeypatch):
    monkeypatch.setattr(fastdds_profile, "fastdds_version", lambda: None)
    assert chosen() == dict.fromkeys(FASTDDS_PROFILE, "realtalk_fastdds.xml")


@pytest.mark.parametrize("variable", FASTDDS_PROFILE)
def test_a_users_file_is_kept_whatever_its_name(monkeypatch, variable):
    monkeypatch.setenv(variable, "/home/user/realtalk_fastdds.xml")
    before = dict(os.environ)
    use_fastdds_profile(images=True)
    assert dict(os.environ) == before


@pytest.mark.parametrize("name, value, library, file, told", [
    (TRANSPORTS, "UDPv4", "libfastrtps.so.2.14.5", "realtalk_fastdds.xml", False),
    (TRANSPORTS, "LARGE_DATA", "libfastdds.so.3.2.3", "realtalk_fastdds3.xml", True),
    (LOCALHOST_ONLY, "1", "libfastrtps.so.2.6.9", "realtalk_fastdds.xml", True),
    (LOCALHOST_ONLY, "0", "libfastrtps.so.2.6.9", "realtalk_fastdds_images.xml", False),
    # ROS 2 keeps it by other means than transports of its own.
    (LOCALHOST_ONLY, "1", "libfastrtps.so.2.14.5", "realtalk_fastdds_images.xml", False),
])  # fmt: skip
def test_a_users_transports_are_kept(
    monkeypatch, tmp_path, capsys, name, value, library, file, told
):
    installed(monkeypatch, tmp_path, library)
    monkeypatch.setenv(name, value)
    assert list(chosen(images=True).values()) == [file]
    assert (
        "<userTransports>"
        not in Path(fastdds_profile.__file__).with_name("realtalk_fastdds.xml").read_text()
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == told and all(f"{name}={value}" in line for line in lines)


@pytest.mark.parametrize("images, free, environment, told", [
    (True, 17, {}, None), (True, 16, {}, "has 16.0 MiB free, and Fast DDS takes 17"),
    (False, 16, {}, None), (False, 0, {}, "has 0.0 MiB free, and Fast DDS takes 1"),
    (False, 0, {TRANSPORTS: "UDPv4"}, None),
    (True, 0, {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}, None),
    (True, 0, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, "`fastdds shm clean` removes"),
])  # fmt: skip
def test_shared_memory_without_room_is_told_before_fast_dds_fails(
    monkeypatch, capsys, images, free, environment, told
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fastdds_profile, "room", lambda: free * 2**20)
    use_fastdds_profile(images)
    said = capsys.readouterr().err
    assert said.count("\n") == (told is not None) and (told or "") in said


def test_there_is_no_room_where_nothing_can_be_written(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(fastdds_profile, "SHARED_MEMORY", tmp_path)
    assert fastdds_profile.room() > 0
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(
        f_flag=os.ST_RDONLY, f_bavail=found.f_bavail, f_frsize=found.f_frsize))  # fmt: skip
    assert fastdds_profile.room() == 0
    monkeypatch.undo()
    monkeypatch.setattr(fastdds_profile, "SHARED_MEMORY", tmp_path / "missing")
    assert fastdds_profile.room() == 0


def test_doctor_looks_at_shared_memory(monkeypatch):
    (finding,) = doctor.shared_memory()
    assert finding.level == "ok" and "1024 MiB free" in finding.what
    monkeypatch.setattr(fastdds_profile, "room", lambda: 2**24)
    (finding,) = doctor.shared_memory()
    assert finding.level == "warn" and "--shm-size" in finding.advice


@pytest.mark.parametrize("variable, value, said", [
    (ros_arguments.DOMAIN, "one", "is not an integral number"),
    (ros_arguments.DOMAIN, "233", "from 0 to 232, not 233"), ("HOME", __file__, "folder of logs"),
    ("ROS_LOG_DIR", f"{__file__}/log", "folder of logs"),
])  # fmt: skip
def test_doctor_says_why_ros_does_not_start(monkeypatch, variable, value, said):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    for name in ("ROS_HOME", "ROS_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    (finding,) = doctor.ros()
    assert finding.level == "warn" and said in finding.what and "/project/" not in finding.what


@pytest.mark.parametrize("death, advice", [("7", "fastdds shm clean"), ("9", "put that right")])
def test_doctor_goes_on_where_ros_is_killed(monkeypatch, tmp_path, death, advice):
    (tmp_path / "rclpy.py").write_text(f"import os; os.kill(os.getpid(), {death})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = doctor.ros()
    assert finding.level == "warn" and advice in finding.advice
