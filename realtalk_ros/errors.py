# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a user's input. Every message is one line that also says what to do."""


class RealTalkError(Exception):
    """Bad input or a broken installation. The CLI prints the message and exits with 2."""


class AudioError(RealTalkError):
    """Audio that cannot be used: unknown encoding, odd byte count, impossible sample rate."""


class AvatarError(RealTalkError):
    """An avatar folder that lacks a file, names one outside itself, or holds the wrong shapes."""


class ModelError(RealTalkError):
    """A network file that is missing, truncated, tampered with, or of another version."""


class NetworkError(RealTalkError):
    """A network that failed while it ran, as where a GPU is lost."""


NO_MEMORY = "no memory is left for it: close other programs, or give a container more"


def lacks_memory(error: Exception) -> bool:
    """Whether an error, of Python or of a library in C++, is that memory was refused."""
    return isinstance(error, MemoryError) or "bad_alloc" in str(error)


def reason(error: Exception) -> str:
    """What the system, or a library, says of an error, in a line; its kind where it says
    nothing."""
    return getattr(error, "strerror", None) or first_line(error)


def one_line(error: Exception) -> str:
    """All that an error says, which may be many lines, in one."""
    return " ".join(str(error).split())


def first_line(error: Exception) -> str:
    """Of what another library's error says; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
