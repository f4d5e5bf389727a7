# SPDX-License-Identifier: Apache-2.0
"""What `make` installs into an environment: after an upgrade, an interruption, and at once."""

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "Makefile").is_file():
    pytest.skip("the sources are not here", allow_module_level=True)
if not shutil.which("make"):
    pytest.skip("there is no make", allow_module_level=True)
TARGETS = {"VENV": "install", "TRAINING_VENV": "install-training"}
# An environment's Python, whose pip does what a test says.
PYTHON = f"""#!/bin/sh
venv=${{0%/bin/python}}
case "$1 $2 $*" in
-m\\ pip*\\ install\\ *) . "$venv/pip.sh" ;;
-m\\ pip*) ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


@pytest.fixture(params=TARGETS)
def variable(request):
    return request.param


@pytest.fixture
def venv(tmp_path):
    """An environment whose pip runs its file pip.sh."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(PYTHON)
    (tmp_path / "bin/python").chmod(0o755)
    command = ["sh", ROOT / "cmake/check.sh", sys.executable, tmp_path]
    if (checked := subprocess.run(command, capture_output=True, text=True)).returncode:
        pytest.skip(checked.stderr)
    return tmp_path


@pytest.fixture
def make(venv, variable):
    """Starts `make` for that environment; `python` makes environments."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def start(python=sys.executable):
        python = f"{variable.replace('VENV', 'PYTHON')}={python}"
        command = ["make", "-C", str(ROOT), TARGETS[variable], f"{variable}={venv}", python]
        return subprocess.Popen(
            command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return start


def ended(process):
    """(exit status, what it said)."""
    said = process.communicate(timeout=120)[0]
    return process.returncode, said


def test_an_environment_whose_python_was_upgraded_is_installed_again(tmp_path, variable):
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    installed = tmp_path / ".installed"
    installed.touch()
    os.utime(installed, (2**32, 2**32))  # newer than all sources
    command = ["make", "-n", "-C", str(ROOT), TARGETS[variable], f"{variable}={tmp_path}"]
    command += [f"PYTHON={sys.executable}", f"TRAINING_PYTHON={sys.executable}"]
    for has_pip in (True, False):
        python.write_text(f"#!/bin/sh\nexit {int(not has_pip)}\n")
        python.chmod(0o755)
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ("pip install" in said) != has_pip, said
    python.unlink()  # it was of another name, and is gone
    python.symlink_to("python3.0")
    assert "pip install" in subprocess.run(command, capture_output=True, text=True).stdout


def test_what_was_half_installed_when_it_was_interrupted_is_installed_again(venv, make):
    """pip takes for installed what has a dist-info folder, and writes INSTALLER at the end."""
    packages = venv / "lib/python3/site-packages"
    note = f'ls "{packages}" >>"$venv/seen"\n'
    (venv / "pip.sh").write_text(
        f'mkdir -p "{packages}/begun-1.dist-info" "{packages}/whole-1.dist-info"\n'
        f'touch "{packages}/whole-1.dist-info/INSTALLER"\n{note}kill -KILL $$\n'
    )
    status, said = ended(make())
    assert status and not (venv / ".installed").exists(), said
    (venv / "pip.sh").write_text(note)
    assert ended(make())[0] == 0 and (venv / ".installed").exists()
    seen = (venv / "seen").read_text().split()
    assert seen == ["begun-1.dist-info", "whole-1.dist-info", "whole-1.dist-info"]


def test_packages_of_others_stay(venv, make):
    """Not all installers write INSTALLER, and nothing was interrupted."""
    package = venv / "lib/python3/site-packages/another-1.dist-info"
    package.mkdir(parents=True)
    (venv / "pip.sh").write_text("")
    status, said = ended(make())
    assert status == 0 and package.exists(), said


def test_an_upgrade_that_was_interrupted_goes_on(venv, make):
    """The environment's new Python has got pip already, and nothing else."""
    (venv / ".installed").touch()
    os.utime(venv / ".installed", (2**32, 2**32))  # newer than all sources
    (venv / "bin/python").write_text(
        "#!/bin/sh\nvenv=${0%/bin/python}\n"
        """case "$*" in *'("pip")'* | *'import pip'*) test -e "$venv/pip" || exit 1 ;; esac\n"""
        + PYTHON
    )
    (venv / "maker").write_text(f'#!/bin/sh\ntouch "{venv}/pip"\n')
    (venv / "maker").chmod(0o755)
    (venv / "pip.sh").write_text("kill -KILL $$\n")
    status, said = ended(make(python=venv / "maker"))
    assert status and (venv / "pip").exists(), said
    (venv / "pip.sh").write_text('touch "$venv/complete"\n')
    status, said = ended(make(python=venv / "maker"))
    assert status == 0 and (venv / "complete").exists(), said


def test_two_at_once_install_one_after_the_other_and_only_once(venv, make):
    if not shutil.which("flock"):
        pytest.skip("there is no flock")
    for name in ("begun", "go"):
        os.mkfifo(venv / name)
    (venv / "pip.sh").write_text(
        'echo once >>"$venv/seen"\n'
        'test "$(wc -l <"$venv/seen")" = 1 || exit 1\n'
        'echo >"$venv/begun"\nread -r _ <"$venv/go"\n'
    )
    begun = os.open(venv / "begun", os.O_RDONLY | os.O_NONBLOCK)
    first = make()
    assert select.select([begun], [], [], 120)[0], "it did not begin"
    os.close(begun)
    second = make()
    lines = []
    for line in second.stdout:  # until it says that it waits, or ends
        lines.append(line)
        if "waiting" in line:
            break
    (venv / "go").write_text("\n")
    for process in (first, second):
        status, said = ended(process)
        assert status == 0, said + "".join(lines)
    assert (venv / "seen").read_text() == "once\n"


def test_a_sourced_ros_does_not_get_between(tmp_path):
    """The wheels look for libraries in LD_LIBRARY_PATH, too, in any order."""
    (tmp_path / "bin").mkdir()
    for name, line in (("python", f'exec "{sys.executable}" "$@"'), ("realtalk", "env")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".installed").touch()
    os.utime(tmp_path / ".installed", (2**32, 2**32))  # newer than all sources
    sourced = {
        "AMENT_PREFIX_PATH": "/opt/ros/humble",
        "CMAKE_PREFIX_PATH": "/opt/ros/humble",
        "LD_LIBRARY_PATH": "/opt/ros/humble/lib",
        "PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages",
        "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
    }

    def given(changes):
        command = ["make", "-s", "-C", str(ROOT), "demo", f"VENV={tmp_path}"]
        env = {"PATH": os.environ["PATH"], **changes}
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        return {line.partition("=")[0] for line in said.splitlines()}

    assert not given(sourced) & sourced.keys()
    assert "LD_LIBRARY_PATH" in given({"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"})
