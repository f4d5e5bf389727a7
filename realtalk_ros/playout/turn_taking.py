# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: chunks from any sender in, one utterance after another out, on one timeline.

scheduling.py says when a chunk is played, interrupted_turns.py which chunks are ignored after an
interrupt, utterance_ends.py which ends are still to be passed on.

A node that stalled finds audio that should have been played meanwhile. Of an utterance that goes
on, that audio is dropped, so that the rest is played when it should be (`take`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

from realtalk_ros.errors import AudioError
from realtalk_ros.playout.interrupted_turns import InterruptedTurns
from realtalk_ros.playout.scheduling import ChunkFinding, schedule
from realtalk_ros.playout.turn import MAX_SILENCE, Turn
from realtalk_ros.playout.utterance_ends import UtteranceEnds
from realtalk_ros.stream_types import STAMP_TOLERANCE, Chunk, ScheduledChunk

MAX_WAITING = 120.0  # s of audio that may wait; what comes then is refused
STALE = 0.5  # s by which audio may come later than usual for its sender before it is dropped
PAST = 16  # turns that are over, of whose chunks copies are known
BEHIND = 1.0  # s for which a sender is half as late, from which on it is taken to stay so
SLOW = 30.0  # s after that in which it is taken to be late again at once
EARLY = 0.5  # s before its time: of a sender that usually is earlier no more is expected
STALL = 0.15  # s between two calls of `take`, from which on this process did not run in between
AT_ONCE = 0.2  # s, an utterance that begins within this from now ends others at once
SILENCE = 2.0  # s before an utterance that waits for its time, in which others are spoken
FRAGMENTS = 5  # chunks in a row of which each ended the one before, or is an utterance of its own
WORD = 0.3  # s of sound, less is no utterance
TOGETHER = 0.1  # s between two chunks of one voice, at most
TINY, MANY = 0.002, 500  # s of sound in a chunk, in the mean of so many: too few for their costs


@dataclass(frozen=True)
class PutResult:
    """What became of a chunk that was put."""

    ended: list[str] = field(default_factory=list)  # utterances that it ended at once
    findings: list[ChunkFinding] = field(default_factory=list)


class TurnTaking:
    """`policy` says what a new utterance does that begins before another has ended: `replace` it,
    or `queue` until it has ended."""

    def __init__(self, policy: str = "replace", limit: float = MAX_WAITING) -> None:
        self.policy, self.limit = policy, limit
        self.jitter = MAX_SILENCE  # s, of sound without stamps: scheduling.jitter_of
        self.counts = {"refused_chunks": 0, **{finding.value: 0 for finding in ChunkFinding}}
        self.counts["late_senders"] = 0  # times that speech was postponed, as it came late
        self.skipped = 0.0  # s of audio dropped because its time had passed
        self._turns: deque[Turn] = deque()
        self._past: deque[Turn] = deque(maxlen=PAST)  # those that are over
        self._interrupted = InterruptedTurns()
        self._ends = UtteranceEnds()
        self._last_take = math.inf  # when `take` was called last
        self._fragments = 0  # in a row, up to the utterance that ended last
        self._singles = 0  # chunks in a row that are short utterances of their own
        self._before = (math.inf, -math.inf)  # seconds and end of the chunk that was put last

    def __len__(self) -> int:
        """Pieces that wait."""
        return sum(len(turn.chunks) for turn in self._turns)

    @property
    def seconds(self) -> float:
        """Audio that waits."""
        return sum(turn.seconds for turn in self._turns)

    @property
    def utterances(self) -> list[str]:
        """Those that are played or wait, in order."""
        return [turn.utterance for turn in self._turns]

    def put(
        self, chunk: Chunk, now: float, sent: float | None = None, sender: str = ""
    ) -> PutResult:
        """Takes a chunk at `now`, which `sender` sent at `sent` (now, if that is not known): the
        two differ where this process stalled.

        Raises AudioError if more audio waits than may.
        """
        sent, result = now if sent is None else min(sent, now), PutResult()
        if (unwanted := self._find_unwanted(chunk, sent, sender)) is not None:
            self._note(unwanted, result)
            return result
        turn, new = self._find_turn(chunk, sender, sent)
        if new and any(t.utterance == chunk.utterance and t.sender != sender for t in self._turns):
            self._note(ChunkFinding.MIXED, result)
        if self.seconds + chunk.seconds > self.limit:
            self.counts["refused_chunks"] += 1
            raise AudioError(
                f"more than {self.limit:g} s of sound wait to be spoken; a chunk was left out: "
                "send it later"
            )
        scheduled, finding = schedule(turn, chunk, sent, self.jitter)
        if finding is not None:
            self._note(finding, result)
        if scheduled is None or (new and not len(scheduled.pcm)):
            if scheduled is not None and scheduled.last:
                self._ends.end(chunk.utterance)
            return result
        if new:
            scheduled = self._begin(turn, scheduled, now, result)
        self._note_fragments(turn, new, scheduled, result)
        turn.put(scheduled, now, sent)
        overdue = sent - scheduled.start - scheduled.seconds
        if overdue <= STALE / 2 + max(0.0, turn.lateness):
            turn.late_since = None
        elif turn.late_since is None:
            turn.late_since = sent
        return result

    def _begin(
        self, turn: Turn, first: ScheduledChunk, now: float, result: PutResult
    ) -> ScheduledChunk:
        """A new turn replaces others, or is queued. Returns its first chunk, as it is played."""
        self._ends.begin(turn.utterance)
        if self.policy == "replace":
            result.ended.extend(self._replace_others(turn.utterance, first.start, now))
        self._interrupted.begin(turn.utterance, turn.sender)
        place = self._place(first.start, now)
        if place:
            before = self._turns[place - 1]
            turn.postponed = max(0.0, before.end - first.start) if before.closed else 0.0
        self._turns.insert(place, turn)
        turn.fragments_before, self._fragments = self._fragments, 0
        return first.moved(turn.postponed)

    def is_copy(self, chunk: Chunk, sent: float) -> bool:
        """Whether a chunk that was sent at `sent` came before, as a relay sends it again."""
        turns = self._turns_under(chunk.utterance)
        # An end without sound belongs to the newest: another sender's may have ended just now.
        return any(turn.has_had(chunk, sent) for turn in (turns if len(chunk.pcm) else turns[-1:]))

    def _turns_under(self, utterance: str) -> list[Turn]:
        """Those of an id, that are over, too."""
        return [turn for turn in (*self._past, *self._turns) if turn.utterance == utterance]

    def _find_unwanted(self, chunk: Chunk, sent: float, sender: str) -> ChunkFinding | None:
        """Why a chunk is not taken, if it is not: it is a copy, or more of what was interrupted."""
        if self.is_copy(chunk, sent):
            return ChunkFinding.REPEATED
        if self._interrupted.ignores(chunk, sent, sender):
            turns = [t for t in self._turns_under(chunk.utterance) if t.sender == sender]
            for turn in turns[-1:]:
                turn.remember(chunk, sent)
            return ChunkFinding.INTERRUPTED
        return None

    def _note_fragments(
        self, turn: Turn, new: bool, chunk: ScheduledChunk, result: PutResult
    ) -> None:
        """Notes what is cut so small that it is not heard, or that no lips can follow it. `chunk`
        is put into `turn` next."""
        seconds, end = self._before
        if len(chunk.pcm):
            self._before = chunk.seconds, chunk.start + chunk.seconds
            single = seconds < WORD and chunk.start <= end + TOGETHER and (new or turn.closed)
            self._singles = self._singles + 1 if single else 0
        if new and turn.fragments_before >= FRAGMENTS:
            self._note(ChunkFinding.FRAGMENT, result)
        elif self._singles >= FRAGMENTS:
            self._note(ChunkFinding.SINGLE, result)
        if turn.count >= MANY and turn.received < TINY * turn.count:
            self._note(ChunkFinding.TINY, result)

    def _note(self, finding: ChunkFinding, result: PutResult) -> None:
        result.findings.append(finding)
        self.counts[finding.value] += 1

    def take(self, now: float, ahead: float) -> ScheduledChunk | None:
        """The next piece that is played before `now` + `ahead`, or None.

        Audio of an utterance that goes on is dropped if its time has passed; `skipped` grows.
        """
        if now - self._last_take > STALL:  # what came meanwhile may not have been put yet
            for turn in self._turns:
                turn.expires = max(turn.expires, now + MAX_SILENCE)
        self._last_take = now
        while self._turns:
            turn = self._turns[0]
            if turn.chunks:
                self._catch_up(turn, now)
            if turn.chunks:
                if turn.chunks[0].start > now + ahead:
                    return None
                if not turn.started:
                    self._ends.end_paused()
                turn.started = True
                return turn.pop()
            expired = now > turn.expires
            if not turn.closed and not expired:
                return None
            if len(self._turns) == 1 and not expired:
                return None  # more may come under its id
            self._ends.hand_out(turn, now)
            self._leave()
            if self._turns:
                self._turns[0].postpone(turn.end)
        return None

    def _place(self, start: float, now: float) -> int:
        """Where a new utterance is queued that is to begin at `start`: behind all others, or before
        one that begins later, after a long silence."""
        end = now
        for place, turn in enumerate(self._turns):
            begins = turn.chunks[0].start if turn.chunks and not turn.started else -math.inf
            if begins > max(start, end + SILENCE):
                return place
            end = max(end, turn.end)
        return len(self._turns)

    def _leave(self) -> None:
        """The first turn is over."""
        turn = self._turns.popleft()
        turn.forget_sound()
        self._past.append(turn)

    def take_ended(self, now: float) -> list[str]:
        """The utterances that have ended without a last chunk of sound, each once: another one has
        begun, their `last` came alone, or nothing has come for a while."""
        if not self._turns:
            self._ends.end_long_paused(now)
        return self._ends.take()

    def interrupt(self, now: float) -> list[str]:
        """Drops everything. Returns the utterances that were played or waited, of which chunks that
        still come are ignored, and those that paused so lately that they may go on."""
        ended = [*self._ends.still_heard(now), *self.utterances, *self._ends.may_go_on(now)]
        for turn in self._turns:
            self._end(turn, now)
        while self._turns:
            self._leave()
        self._ends.interrupt()
        return list(dict.fromkeys(ended))

    def accept_again(self, utterance: str, sender: str = "") -> None:
        """`utterance` answers: its chunks are played though it was interrupted."""
        self._ends.begin(utterance)
        self._interrupted.remove(utterance, sender)
        self._interrupted.begin(utterance, sender)

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        for turn in self._turns:
            turn.shift(seconds)
        self._past.clear()  # simulated time that went back brings the same stamps again
        self._interrupted.shift(seconds)
        self._ends.shift(seconds)
        self._last_take += seconds

    def _find_turn(self, chunk: Chunk, sender: str, sent: float) -> tuple[Turn, bool]:
        """The turn that a chunk belongs to, and whether it is a new one."""
        utterance = chunk.utterance
        turns = [
            t
            for t in self._turns
            if t.utterance == utterance
            # Once another utterance follows it, more under its id comes after that.
            and (t is self._turns[-1] or not t.closed or t.may_have_sent(chunk, sent))
        ]
        for turn in turns:
            if turn.sender == sender:
                return turn, False
        if turns and turns[-1].is_continued_by(chunk, sent):
            turns[-1].sender = sender  # the sender that began it was restarted, say
            return turns[-1], False
        return Turn(utterance, sender), True

    def _catch_up(self, turn: Turn, now: float) -> None:
        """Drops what should have been played while this process stalled."""

        def overdue() -> float:
            first = turn.chunks[0]
            return now - first.start - first.seconds

        if overdue() <= STALE + max(0.0, turn.usual_lateness):
            return
        if not turn.started and not turn.in_real_time:
            # The rest of it came already, so all of it is played, later.
            turn.postpone(now)
            return
        if turn.late_since is not None and (
            turn.last_sent - turn.late_since > BEHIND or turn.last_sent < turn.slow_until
        ):
            # Nor will the rest be earlier: its sender is slow, or its clock was set back.
            turn.postpone(now)
            turn.lateness, turn.late_since = turn.last_sent - turn.end, None
            turn.slow_until = turn.last_sent + SLOW
            self.counts["late_senders"] += 1
            return
        # The rest is still to come, as early as its sender sends it: skip what is past, or all that
        # follows would be late.
        while overdue() > max(turn.usual_lateness, -EARLY):
            piece = turn.pop()
            self.skipped += piece.seconds
            if not turn.chunks:
                if piece.last:  # the end of the utterance must be passed on
                    turn.chunks.append(replace(piece, pcm=piece.pcm[:0]))
                return

    def _replace_others(self, utterance: str, start: float, now: float) -> list[str]:
        """`utterance` begins at `start`. Returns those that this ends at once."""
        ended = []
        for turn in self._turns:
            if turn.closed and turn.end <= start + STAMP_TOLERANCE:
                continue  # the new one follows it, though its stamp may be rounded
            # Two under one id are one to who comes after this, and what is there is not replaced.
            overlaps = turn.utterance == utterance and turn.handed_out_until > start
            at_once = start <= now + AT_ONCE or overlaps
            if not turn.closed:
                self._end(turn, now, cut=at_once or turn.end > start + STAMP_TOLERANCE)
            if at_once:
                ended.append(turn.utterance)
            if turn.end > start:
                turn.cut(start)
            turn.closed = True
        while ended and self._turns:
            self._leave()
        return ended

    def _end(self, turn: Turn, now: float, cut: bool = True) -> None:
        """`turn` was interrupted, or replaced before its end: what still comes of it is ignored.
        `cut`: a part of what has come is dropped, too."""
        self._interrupted.add(turn, now)
        self._fragments = turn.fragments_before + 1 if cut and turn.is_fragment else 0
