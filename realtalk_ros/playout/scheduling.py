# SPDX-License-Identifier: Apache-2.0
"""When a chunk is played, from its stamp and from the audio that its utterance sent before.

Inside an utterance the number of samples is the clock. A stamp more than 2 s before a chunk was
sent, or more than 120 s after it, or 30 s after the sound before it, comes from a clock that is not
this machine's (or jumped); it says nothing about now. Such a chunk is played right after what its
utterance sent before, or at once. The difference is kept for the rest of the utterance, so that the
pauses in it stay as they were. So it is where a clock was set back by less in mid-sound
(`_set_back`), and where an utterance was to begin more than `jitter_of` before it was sent: a face
that has shown that time already would have to stand still until it is over.
(What is jitter and what is a lost chunk: the limits in stream_types.py. What is dropped because its
time has passed: turn_taking.py.)

When this machine's clock jumps in the middle of an utterance, chunks that its sender stamps by the
new time may come before this node notices the jump, and the node knows the jump only as exactly as
it reads the clock. So what follows is joined to what waits, and nothing is dropped.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from realtalk_ros.playout.interrupted_turns import is_continuous
from realtalk_ros.playout.turn import MAX_SILENCE, REGULAR, Turn
from realtalk_ros.stream_types import LOST_CHUNK_GAP, STAMP_TOLERANCE, Chunk, ScheduledChunk

# s by which a stamp may be ahead of now, or behind it, and is believed
MAX_AHEAD, MAX_BEHIND = 120.0, 2.0
MAX_PAUSE = 30.0  # s within an utterance: a stamp behind a longer one is not believed
PLAYED_LATE = 0.13  # s beyond the look-ahead by which sound may come late and is not dropped
STEADY = 10.0  # s of audio that show whether a sender sends in real time
COUNTED = 5  # chunks whose stamps show that they count samples
QUIET = 1e-3  # amplitude from which on sound is seen to go on
DRIFT = 0.02  # share by which the clocks of a sender's audio and stamps may differ


class ChunkFinding(Enum):
    """What was found of a chunk that is not simply played where its stamp says. The values are
    names in the diagnostics."""

    REPEATED = "repeated_chunks"  # its audio came before: dropped
    TRIMMED = "trimmed_chunks"  # its sender's clocks drift: played without what overlaps
    OVERLAPPING = "overlapping_stamps"  # the audio before it takes longer: played after that
    LATE = "late_stamps"  # it begins an utterance, and came after its time: played next
    FOREIGN = "foreign_stamps"  # stamped by another clock: played next
    INTERRUPTED = "interrupted_chunks"  # more of what was interrupted: dropped
    FRAGMENT = "fragmented_utterances"  # it and those before it each ended the one before
    SINGLE = "single_chunks"  # it and those before it are utterances of a chunk each
    TINY = "tiny_chunks"  # its utterance comes in more chunks than can be worth their costs
    MIXED = "mixed_senders"  # another sender has its utterance's id: an utterance of its own


class Scheduled(NamedTuple):
    """A chunk with the time at which it is played, or None if it is dropped; and what was found of
    it."""

    chunk: ScheduledChunk | None
    finding: ChunkFinding | None = None


def jitter_of(look_ahead: float) -> float:
    """By how much sound without stamps may come late, s, and still be played as if it had not: what
    the face's delay, which is little more than the network's look-ahead, makes up for."""
    return min(MAX_SILENCE, look_ahead + PLAYED_LATE)


def schedule(turn: Turn, chunk: Chunk, sent: float, jitter: float = MAX_SILENCE) -> Scheduled:
    """When a chunk is played that was sent at `sent`, s. `turn` remembers its stamp, and how the
    sender's clock differs. `jitter`: see `jitter_of`."""
    turn.remember(chunk, sent)
    # Later than that, or where a reserve has run dry, the rest comes after a pause, or as much of
    # it would be too late.
    wait = STAMP_TOLERANCE if turn.had_reserve else jitter
    following = turn.end if turn.end > sent - wait else sent
    if not len(chunk.pcm):  # its stamp says when nothing is played
        return Scheduled(chunk.scheduled(following))
    stamp = chunk.start
    if stamp is None:
        return _without_stamp(turn, chunk, sent, following)
    turn.clock_offset += _set_back(turn, chunk, stamp, sent)
    previous, jumped = turn.last_stamp, turn.clock_jumped
    turn.record_stamp(stamp, chunk.seconds)
    turn.clock_jumped = False
    turn.close_gap(stamp + turn.clock_offset + turn.postponed)
    if turn.is_new and sent - stamp > jitter and _is_plausible(stamp, chunk.seconds, sent):
        turn.clock_offset = sent - stamp
        return Scheduled(chunk.scheduled(sent), ChunkFinding.LATE)
    offset = _believed_offset(turn, stamp, chunk.seconds, sent)
    if offset is None:
        turn.clock_offset = following - turn.postponed - stamp
        return Scheduled(chunk.scheduled(following), ChunkFinding.FOREIGN)
    start, turn.clock_offset = stamp + offset + turn.postponed, offset
    gap = start - turn.end  # between the audio before it and where its stamp puts it
    if jumped and -LOST_CHUNK_GAP <= gap < 0:
        turn.clock_offset, gap = offset - gap, 0.0
    if gap > STAMP_TOLERANCE:
        return Scheduled(chunk.scheduled(start))
    if gap >= -STAMP_TOLERANCE:
        return Scheduled(chunk.scheduled(turn.end))
    if previous is not None and stamp < previous:
        return Scheduled(None, ChunkFinding.REPEATED)  # another chunk was there before it
    if _drifts(turn, sent):
        return Scheduled(_trimmed(chunk, -gap, turn.end), ChunkFinding.TRIMMED)
    return Scheduled(chunk.scheduled(turn.end), ChunkFinding.OVERLAPPING)


def _without_stamp(turn: Turn, chunk: Chunk, sent: float, following: float) -> Scheduled:
    """A chunk with sound and no stamp, which is played at `following`, s, without as much of it as
    its sender's clock is fast."""
    turn.to_skip += turn.sample_clock.to_skip(following - turn.to_skip - sent, sent)
    if turn.to_skip <= 0:
        return Scheduled(chunk.scheduled(following))
    trimmed = _trimmed(chunk, turn.to_skip, following)
    turn.to_skip = max(0.0, turn.to_skip - chunk.seconds)
    return Scheduled(trimmed, ChunkFinding.TRIMMED)


def _believed_offset(turn: Turn, stamp: float, seconds: float, sent: float) -> float | None:
    """What is to be added to a stamp, s; None where it is of another clock."""
    for offset in _offsets(turn, stamp, seconds, sent):
        # An utterance that was postponed lies behind its stamps, which is no jump.
        gap = stamp + offset + turn.postponed - turn.end
        # What comes after its `last` is an utterance of its own.
        near = gap <= MAX_PAUSE or turn.is_new or turn.closed
        plausible = near and _is_plausible(stamp + offset, seconds, sent)
        if abs(gap) <= LOST_CHUNK_GAP or plausible:
            return offset
    return None


def _offsets(turn: Turn, stamp: float, seconds: float, sent: float) -> tuple[float, ...]:
    """What may be added to a stamp, s: what the sender's clock differed by so far; nothing, if that
    was one wrong stamp, and this one continues what came before. After this machine's clock was
    set, what continues best."""
    gap = stamp + turn.postponed - turn.end
    if turn.jump and abs(gap + turn.jump) <= LOST_CHUNK_GAP:  # it may count on from the old time
        return tuple(sorted((0.0, turn.clock_offset, turn.jump), key=lambda s: abs(gap + s)))
    if abs(gap) <= STAMP_TOLERANCE and _is_plausible(stamp, seconds, sent):
        return (0.0,)
    return turn.clock_offset, 0.0


def _is_plausible(start: float, seconds: float, sent: float) -> bool:
    """Whether audio of `seconds` that was sent at `sent` can be meant to be played at `start`."""
    return start + seconds >= sent - MAX_BEHIND and start <= sent + MAX_AHEAD


def _set_back(turn: Turn, chunk: Chunk, stamp: float, sent: float) -> float:
    """By how much the sender's clock was set back since its last chunk, s: its stamps counted
    samples, and this one goes back, but the sound goes on, in the same rhythm."""
    if turn.next_stamp is None or turn.stamped < COUNTED or not turn.regular:
        return 0.0
    back, pause = turn.next_stamp - stamp, sent - turn.last_sent
    if back <= STAMP_TOLERANCE or not (np.abs(turn.last_pcm) > QUIET).any():
        return 0.0
    if turn.missing is not None and abs(stamp - turn.missing) <= REGULAR:
        return 0.0  # others overtook it
    # Of another machine, `sent` goes back with its clock.
    shortest, longest = chunk.seconds / 2, 2 * chunk.seconds + STAMP_TOLERANCE
    in_time = any(shortest <= since <= longest for since in (pause, pause + back))
    return back if in_time and is_continuous(turn.last_pcm, chunk.pcm) else 0.0


def _drifts(turn: Turn, sent: float) -> bool:
    """Whether a sender sends in real time, by a clock that is not quite that of its stamps."""
    elapsed = sent - turn.first_sent
    return turn.received > STEADY and abs(turn.received / max(elapsed, 1e-3) - 1) < DRIFT


def _trimmed(chunk: Chunk, seconds: float, start: float) -> ScheduledChunk | None:
    """The chunk without its first `seconds`, played at `start`; None if nothing is left of it."""
    pcm = chunk.pcm[round(seconds * chunk.sample_rate) :]
    return replace(chunk, pcm=pcm).scheduled(start) if len(pcm) or chunk.last else None
