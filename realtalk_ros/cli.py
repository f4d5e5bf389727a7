# SPDX-License-Identifier: Apache-2.0
"""The `realtalk` command. Each subcommand is a module with `add_arguments(parser)` and `run(args)`.

Only the module of the subcommand that is called is imported: `realtalk speak` needs neither ROS nor
torch. Exit codes: 0 done, 2 bad input or a missing part (one line on stderr), 129 hung up, 130
interrupted, 141 nobody reads the output, 143 terminated.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import math
import os
import select
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from realtalk_ros import __version__, ending_signals, install_hints
from realtalk_ros.errors import NO_MEMORY, RealTalkError, reason

# Words of the command: (module, purpose).
COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("speak",): (
        "realtalk_ros.commands.speak",
        "speech in, a video of the talking face out; without ROS",
    ),
    ("avatars",): ("realtalk_ros.commands.avatars", "list, show, export, import, check avatars"),
    ("enroll",): (
        "realtalk_ros.commands.enroll",
        "a photo or a video of a person becomes an avatar",
    ),
    ("track",): ("realtalk_ros.commands.track", "expressions of a face in a video, as a CSV"),
    ("bench",): ("realtalk_ros.commands.bench", "how fast this machine is, stage by stage"),
    ("doctor",): (
        "realtalk_ros.commands.doctor",
        "what is installed and works, and how to fix the rest",
    ),
    ("up",): ("realtalk_ros.commands.up", "the expression and the renderer node in one process"),
    ("demo",): (
        "realtalk_ros.commands.demo",
        "the whole ROS 2 graph speaks a clip, and records a video",
    ),
    ("soak",): (
        "realtalk_ros.commands.soak",
        "runs the ROS 2 graph for minutes: sync, latency, lost frames",
    ),
    ("document",): (
        "realtalk_ros.commands.document",
        "the tables of topics and parameters in README and docs",
    ),
    ("data", "facekit"): (
        "realtalk_ros.training.synthetic.facekit_import",
        "the face model, from ICT-FaceKit",
    ),
    ("data", "faces"): (
        "realtalk_ros.training.synthetic.face_dataset",
        "images of random people",
    ),
    ("data", "speech"): ("realtalk_ros.training.speech_data.build", "speech with phone times"),
    ("data", "avatar"): ("realtalk_ros.training.synthetic.make_avatar", "a synthetic avatar"),
    ("data", "portraits"): (
        "realtalk_ros.training.portraits.make_portrait",
        "a path-traced avatar, with Blender",
    ),
    ("data", "valid"): (
        "realtalk_ros.training.valid_heads.make_pictures",
        "pictures of the people of VALID, with Blender",
    ),
    ("data", "videos"): (
        "realtalk_ros.training.videos.build",
        "training data from videos of talking heads",
    ),
    ("data", "pairs"): (
        "realtalk_ros.training.renderer.photo_pairs",
        "training data from photographs of people, neutral and smiling",
    ),
    ("data", "mouths"): (
        "realtalk_ros.training.videos.mouth_data",
        "training data from the mouths of people who talk in videos",
    ),
    ("data", "speaker"): (
        "realtalk_ros.training.videos.synthetic_speaker",
        "a video of a talking synthetic person",
    ),
    ("train", "expression"): (
        "realtalk_ros.training.expression.train",
        "the speech-to-expression network",
    ),
    ("train", "look-ahead"): (
        "realtalk_ros.training.expression.train_look_ahead",
        "the network's files for shorter look-aheads",
    ),
    ("train", "renderer"): (
        "realtalk_ros.training.renderer.train",
        "the expression-to-face network",
    ),
    ("train", "landmarks"): (
        "realtalk_ros.training.renderer.train_landmarks",
        "networks that find landmarks in faces, for losses and evaluation",
    ),
    ("train", "face-reader"): (
        "realtalk_ros.training.face_reader.train",
        "the network that estimates a face's shape, for enroll",
    ),
    ("evaluate", "expression"): (
        "realtalk_ros.training.expression.evaluate",
        "the speech-to-expression network on held-out speech",
    ),
    ("evaluate", "renderer"): (
        "realtalk_ros.training.renderer.evaluate",
        "the expression-to-face network on held-out people",
    ),
    ("evaluate", "smiles"): (
        "realtalk_ros.training.renderer.evaluate_smiles",
        "drawn smiles against photographs of the same people smiling",
    ),
    ("evaluate", "peers"): (
        "realtalk_ros.training.renderer.evaluate_peers",
        "what a frame costs, beside the networks of other projects",
    ),
    ("evaluate", "avatars"): (
        "realtalk_ros.commands.evaluate_avatars",
        "avatars of the photographs in a folder",
    ),
    ("evaluate", "faces"): (
        "realtalk_ros.commands.evaluate_faces",
        "how avatars speak, blink and load",
    ),
    ("evaluate", "talking"): (
        "realtalk_ros.training.videos.evaluate_talking",
        "the lips, from sound alone, against videos of real people",
    ),
}
GROUPS = {
    "data": "make training data and avatars",
    "train": "train a network",
    "evaluate": "measure a network, or enrolment",
}
ADVICE = {  # on errors that come without the name of a file
    errno.EPIPE: "a program that it writes to has ended",
    errno.ENOSPC: "make room for it",
}
# Which of the package's extras the commands need, by their words or by the first one.
EXTRAS = {
    **dict.fromkeys(("data", "train", "evaluate"), "train"),
    **dict.fromkeys(("enroll", "track", "evaluate avatars", "evaluate faces"), "enroll"),
    **dict.fromkeys(("data portraits", "data valid"), "portraits"),
}


LARGEST = 10**10  # of the numbers that options take
Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line. Arguments of types int and float are finite, and
    not beyond LARGEST, which seconds made of hours are to be, too."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("type", float, finite)
        self.register("type", int, whole)

    def format_help(self) -> str:
        for action in self._actions:
            action.help = with_default(action)
        return super().format_help()

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse's. A command's own parser, not the top one, refuses what it does not know."""
        if self._subparsers is None:
            self._refuse_dashes(args[0] if args else kwargs["args"])
        found, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            advice = ""
            if hasattr(found, "ros_args") and any(":=" in word for word in unknown):
                advice = ": what ROS 2 takes, such as -p NAME:=VALUE, comes after --ros-args"
            self.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")
        return found, unknown

    def _refuse_dashes(self, words: Sequence[str]) -> None:
        """Of --fps=-- argparse before Python 3.13 makes an empty list."""
        for word in words:
            if word == "--":
                return
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word.partition('=')[0]}: expected a value, not --")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def with_default(action: argparse.Action) -> str | None:
    """What the help says of an option, and its default, where it has one and does not say so."""
    text, value = action.help, action.default
    if not text or "default" in text or action.nargs == 0 or value in (None, "", []):
        return text
    if value == argparse.SUPPRESS:
        return text
    return f"{text} (default: %(default){'g' if isinstance(value, float) else 's'})"


def finite(text: str) -> float:
    """Raises ValueError, or argparse's own error where it is a number that no option takes."""
    return within(float(text), text)


def whole(text: str) -> int:
    """As `finite`."""
    return within(int(text), text)


def within(value: Number, text: str) -> Number:
    if abs(value) <= LARGEST:  # NaN is not
        return value
    known = isinstance(value, int) or math.isfinite(value)
    what = f"is too large: give at most {LARGEST:g}" if known else "is no finite number"
    raise argparse.ArgumentTypeError(f"{text[:60]} {what}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv`, sys.argv's by default. Returns the exit code."""
    is_all = argv is None  # of the process
    if is_all and isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of files may hold what the terminal's encoding lacks; standard error does this, too.
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = list(sys.argv[1:] if argv is None else argv)
    words = tuple(word for word in argv if not word.startswith("-"))[:2]
    command = words if words in COMMANDS else words[:1]
    # By a signal, child processes are ended, too, and unfinished files go.
    with ending_signals.raised_as_exceptions(to_the_end=is_all) as signals:
        try:
            code = execute(argv, command)
        except Exception:
            if not signals.last:
                raise
            code = 128 + signals.last  # C code that is imported makes another exception of it
        except SystemExit:  # a signal, or argparse
            if failed := flush(command):
                return failed
            raise
        return flush(command) or code


def execute(argv: Sequence[str], command: tuple[str, ...]) -> int:
    """Runs it. Returns the exit code."""
    try:
        args = build_parser(command).parse_args(argv)
        return args.run(args) or 0
    except RealTalkError as error:
        return fail(command, str(error))
    except MemoryError:
        return fail(command, NO_MEMORY)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(" ".join(command)) or EXTRAS.get(" ".join(command[:1]), "")
        return fail(command, install_hints.what_is_missing(error.name or str(error), extra))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is None and error.errno in ADVICE:
            if output_fails():
                return failed_output(command, error)
            return fail(command, f"{error.strerror}: {ADVICE[error.errno]}")
        if error.filename is None:
            raise
        advice = "check the path and its permissions"
        return fail(command, f"{error.filename}: {reason(error)}: {advice}")


def flush(command: tuple[str, ...]) -> int:
    """Writes what was printed. Returns the exit code where that fails, else 0."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except OSError as error:
        return failed_output(command, error)


def output_fails() -> bool:
    """Whether nothing can be written to standard output: neither what it holds back, nor, into a
    pipe, anything else."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # unbuffered, it holds nothing back
    except io.UnsupportedOperation:  # it is no file
        return False
    except OSError:
        return True
    return any(event & select.POLLERR for _, event in poll.poll(0))


def failed_output(command: tuple[str, ...], error: OSError) -> int:
    """The exit code where standard output cannot be written to."""
    # What could not be written would be tried again at the end, and reported by Python.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 141
    return fail(command, f"cannot write its output ({error.strerror}): make room for it")


def fail(command: tuple[str, ...], message: str) -> int:
    print(f"realtalk {' '.join(command)}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def build_parser(command: tuple[str, ...] = ()) -> Parser:
    """The command line; `command` has its arguments, the others only their names and purposes."""
    parser = Parser(prog="realtalk", description="A talking face: speech in, a face out.")
    parser.add_argument("--version", action="version", version=f"realtalk_ros {__version__}")
    top = parser.add_subparsers(metavar="COMMAND", required=True)
    groups = {}
    for words, (module, purpose) in COMMANDS.items():
        level = top
        if len(words) == 2:
            if words[0] not in groups:
                group = top.add_parser(words[0], help=GROUPS[words[0]])
                groups[words[0]] = group.add_subparsers(metavar="WHAT", required=True)
            level = groups[words[0]]
        leaf = level.add_parser(
            words[-1],
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
        )
        if words == command:
            loaded = importlib.import_module(module)
            loaded.add_arguments(leaf)
            leaf.set_defaults(run=loaded.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
