# SPDX-License-Identifier: Apache-2.0
"""Message packages of other people, built from their published definitions where no apt ROS brings
them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CMAKE = """cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
foreach(pkg {dependencies})
  find_package(${{pkg}} REQUIRED)
endforeach()
# See this project's own CMakeLists.txt.
foreach(pkg builtin_interfaces service_msgs std_msgs geometry_msgs)
  find_package(${{pkg}} QUIET)
  foreach(target ${{${{pkg}}_TARGETS}})
    get_target_property(folders ${{target}} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      set(present)
      foreach(folder ${{folders}})
        if(folder MATCHES "^\\\\$<" OR EXISTS "${{folder}}")
          list(APPEND present "${{folder}}")
        endif()
      endforeach()
      set_target_properties(${{target}} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${{present}}")
    endif()
  endforeach()
endforeach()
rosidl_generate_interfaces(${{PROJECT_NAME}} {files} DEPENDENCIES {dependencies})
# Less to compile: nothing of C++, which Python does not use, and the largest of the rest as one
# source, which reads ROS's headers once.
file(WRITE ${{CMAKE_CURRENT_BINARY_DIR}}/empty.cpp "")
foreach(kind fastrtps_cpp introspection_cpp cpp)
  set(library ${{PROJECT_NAME}}__rosidl_typesupport_${{kind}})
  if(TARGET ${{library}})
    set_target_properties(${{library}} PROPERTIES SOURCES ${{CMAKE_CURRENT_BINARY_DIR}}/empty.cpp)
    file(MAKE_DIRECTORY
      ${{CMAKE_CURRENT_BINARY_DIR}}/rosidl_typesupport_${{kind}}/${{PROJECT_NAME}})  # is installed
  endif()
endforeach()
set(library ${{PROJECT_NAME}}__rosidl_typesupport_fastrtps_c)
if(TARGET ${{library}})
  set_target_properties(${{library}} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
endif()
ament_package()
"""
XML = """<?xml version="1.0"?>
<package format="3"><name>{name}</name><version>0.0.0</version><description>test</description>
<maintainer email="a@b.invalid">test</maintainer><license>test</license>
<buildtool_depend>ament_cmake</buildtool_depend>
<buildtool_depend>rosidl_default_generators</buildtool_depend>{depends}
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""


def missing() -> str:
    """Why packages cannot be built here; empty if they can."""
    for tool in ("cmake", "c++"):
        if not shutil.which(tool, path=search_path()):
            return f"{tool} is not installed"
    try:
        import ament_package  # noqa: F401
    except ImportError:
        return "ROS 2's message generators are not installed"
    return ""


def search_path() -> str:
    """Of programs: this environment's come first. The extra `test` brings it a cmake."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def build(cache: Path, name: str, messages: dict[str, str], *dependencies: str) -> Path:
    """Builds and installs a package of messages (name -> definition) below `cache`, unless it is
    there; returns its prefix."""
    ros = os.environ.get("AMENT_PREFIX_PATH") or sys.prefix
    made_of = name, messages, dependencies, CMAKE, XML, ros, sys.version, generators(ros)
    folder = cache / hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    source, prefix, whole = folder / "src", folder / "install", folder / "whole"
    if whole.exists():
        return prefix
    shutil.rmtree(folder, ignore_errors=True)
    (source / "msg").mkdir(parents=True)
    for message, definition in messages.items():
        (source / f"msg/{message}.msg").write_text(definition)
    files = " ".join(f'"msg/{message}.msg"' for message in messages)
    depends = "".join(f"<depend>{d}</depend>" for d in dependencies)
    (source / "CMakeLists.txt").write_text(
        CMAKE.format(name=name, files=files, dependencies=" ".join(dependencies))
    )
    (source / "package.xml").write_text(XML.format(name=name, depends=depends))
    env = dict(os.environ, AMENT_PREFIX_PATH=ros, CMAKE_PREFIX_PATH=ros.replace(":", ";"))
    env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    env["PATH"] = search_path()
    for command in (
        ["cmake", "-S", str(source), "-B", str(folder / "build"), "-DBUILD_TESTING=OFF",
         f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={sys.executable}",
         "-DPYTHON_INSTALL_DIR=lib/python", "-DCMAKE_CXX_FLAGS=-O0", "-DCMAKE_C_FLAGS=-O0"],
        ["cmake", "--build", str(folder / "build"), "--target", "install", "--parallel", "2"],
    ):  # fmt: skip
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    whole.touch()
    return prefix


def generators(ros: str) -> list[str]:
    """What the message generators say of themselves, with their versions."""
    prefixes = map(Path, ros.split(os.pathsep))
    files = (file for prefix in prefixes for file in prefix.glob("share/rosidl_*/package.xml"))
    return [file.read_text() for file in sorted(files)]


def environment(prefix: Path) -> dict[str, str]:
    """What a process needs to use a built package."""

    def joined(name, folder):
        return os.pathsep.join(filter(None, (str(folder), os.environ.get(name))))

    return {
        "PYTHONPATH": joined("PYTHONPATH", prefix / "lib/python"),
        "LD_LIBRARY_PATH": joined("LD_LIBRARY_PATH", prefix / "lib"),
    }
