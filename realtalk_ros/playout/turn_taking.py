"""Who speaks when: chunks from anybody in, one utterance after another out, in one timeline.

Inside an utterance the number of samples is the clock; `_place` says what stamps mean. A stamp more
than 2 s before a chunk was sent or more than 120 s after it comes from a clock that is not this
machine's (or jumped); it says nothing about now. Such a chunk is heard right after what its
utterance sent before, or at once, and the difference is kept for the rest of the utterance, so that
the pauses in it stay as they were. When this machine's clock jumps in the middle of an utterance,
what its sender stamps by the new time may come before this node hears of the jump, and the node
cannot know the jump better than it hears of the clock: what follows is joined to what waits, and
nothing is left out.

A node that stood still finds sound that should have been heard meanwhile. Of an utterance that goes
on, that sound is left out, so that the rest comes when it should (`take`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from realtalk_ros.errors import AudioError
from realtalk_ros.stream_types import MAX_GAP, TOLERANCE, Chunk

POLICIES = ("replace", "queue")
AHEAD = 120.0  # s, how far ahead of now a stamp can be meant, and how much sound may wait
BEHIND = 2.0  # s, how far behind a stamp can be meant
SILENCE = 0.25  # s without audio after which an utterance is over, though no chunk said `last`
PIECE = 0.2  # s, longer chunks are worked off in pieces of this length
STALE = 0.5  # s by which sound may come later than its sender's habit before it is left out
EARLY = 0.5  # s, what comes earlier than this before its time is early enough for everybody
HOLE = 0.15  # s between two looks, from which on this process did not run in between
STEADY = 10.0  # s of sound that tell whether a sender speaks in real time
DRIFT = 0.02  # share by which the clocks of a sender's sound and stamps may differ

IN_FLIGHT = 0.08  # s after an interrupt, in which what comes was sent before its sender knew of it
REGULAR = 0.005  # s to which stamps that count samples follow each other
RESUMED = 0.3  # s that a sender whose stamps go on may pause, and is still in the same utterance
FORGET = 30.0  # s after which the rest of an interrupted utterance is heard whatever it looks like
ACTIVE = 0.3  # s since its last chunk, in which a sender is taken to be still speaking
MAX_IGNORED = 64  # interrupted utterances remembered


class Turn:
    """One utterance that waits or speaks."""

    def __init__(self, utterance: str, sender: str = ""):
        self.utterance, self.sender = utterance, sender
        self.chunks: deque[Chunk] = deque()  # pieces not yet handed out
        self.seconds = 0.0  # of sound in them
        self.end = -math.inf  # media time at which what was received ends
        self.clock = 0.0  # s, added to the sender's stamps
        self.wait = 0.0  # s by which it was put off, because somebody else spoke
        self.over = False  # its `last` came
        self.jumped = False  # this machine's clock did, since its last chunk came
        self.begun = False  # some of it was handed out
        self.stamp: float | None = None  # of its last chunk, by the sender's clock
        self.next_stamp: float | None = None  # where that chunk's sound ends
        self.irregular = 0  # chunks whose stamps do not count samples, to some milliseconds
        self.stamped = 0  # chunks with stamps
        self.first, self.came = math.inf, -math.inf  # when its first, its last chunk was sent
        self.received = 0.0  # s of sound in all
        self.late = math.inf  # s by which its chunks are sent after their time; before it: negative
        self.quiet_after = -math.inf  # when it is over if nothing more comes
        self.sound = np.zeros(0, np.float32)  # of its last chunk
        self.intervals: deque[float] = deque(maxlen=16)  # s between its last chunks
        self.contents: deque[tuple[float, int]] = deque(maxlen=64)  # stamps, and what they were of

    def put(self, chunk: Chunk, now: float, sent: float) -> None:
        assert chunk.start is not None
        step = max(1, round(PIECE * chunk.sample_rate))
        starts = range(0, max(1, len(chunk.pcm)), step)
        for i in starts:
            self.chunks.append(replace(
                chunk, pcm=chunk.pcm[i : i + step], start=chunk.start + i / chunk.sample_rate,
                last=chunk.last and i == starts[-1],
            ))  # fmt: skip
        self.seconds += chunk.seconds
        self.received += chunk.seconds
        self.end = max(self.end, chunk.start + chunk.seconds)
        self.over = self.over or chunk.last
        if math.isfinite(self.came):
            self.intervals.append(max(0.0, sent - self.came))
        self.first, self.came = min(self.first, sent), sent
        self.sound = chunk.pcm if len(chunk.pcm) else self.sound
        self.late = min(self.late, sent - chunk.start - chunk.seconds)
        # Who speaks as he goes sends again when this chunk has passed.
        self.quiet_after = max(self.end, now + chunk.seconds) + SILENCE

    def cut(self, time: float) -> None:
        """Drops what is heard from `time` on; nothing more is expected."""
        self.chunks = deque(c for c in self.chunks if (c.start or 0.0) < time)
        self.seconds = sum(c.seconds for c in self.chunks)
        self.end, self.over = min(self.end, time), True

    def move(self, seconds: float) -> None:
        """All of it is heard later by `seconds`."""
        self.end += seconds
        self.quiet_after += seconds
        self.chunks = deque(replace(c, start=c.start + seconds) for c in self.chunks)

    @property
    def in_real_time(self) -> bool:
        """Whether it comes as fast as it is spoken; False if faster."""
        return self.came - self.first > 0.5 * self.received

    @property
    def regular(self) -> bool:
        """Whether its stamps count samples."""
        return self.irregular <= 0.2 * self.stamped

    def speaks(self, now: float) -> bool:
        """Whether its sender has sent so lately that he must be at it still."""
        return now - self.came <= max(ACTIVE, 1.5 * max(self.intervals, default=0.0))


@dataclass
class _EndedTurn:
    """An utterance that was interrupted, and what more of it would look like."""

    when: float
    came: float  # when its last chunk was sent
    stamp: float | None  # with which it would go on
    regular: bool
    shortest: float  # time between its last chunks
    longest: float
    sound: np.ndarray  # of its last chunk
    over: bool

    @classmethod
    def of(cls, turn: Turn, now: float) -> _EndedTurn:
        times = turn.intervals or [0.0]
        return cls(
            now, turn.came, turn.next_stamp, turn.regular, min(times), max(times), turn.sound,
            turn.over,
        )  # fmt: skip

    def goes_on(self, chunk: Chunk, sent: float) -> bool:
        """Whether `chunk` is more of it, not something new under the same name."""
        if sent <= self.when + IN_FLIGHT:
            return True
        if self.over or sent > self.when + FORGET:
            return False
        pause = sent - self.came
        if self.stamp is not None and chunk.start is not None and self.regular:
            off = abs(chunk.start - self.stamp)
            return off <= 4 * REGULAR and pause <= max(RESUMED, 3 * self.longest)
        if pause > max(0.06, 1.2 * self.longest + 0.02):
            return False
        return pause < 0.06 or (pause > 0.8 * self.shortest and joins(self.sound, chunk.pcm))


def joins(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether `after` continues the wave of `before` (both mono), rather than jumping."""
    if not len(before) or not len(after):
        return True
    steps = np.abs(np.diff(np.concatenate([before[-160:], after[:160]])))
    at = min(160, len(before)) - 1
    others = np.delete(steps, at)
    return bool(steps[at] <= 1e-3 + 4 * np.sqrt((others**2).mean())) if len(others) else True


class TurnTaking:
    """`policy` says what a new utterance does that begins before another has ended: `replace` it,
    or `queue` until it has ended."""

    def __init__(self, policy: str = "replace", limit: float = AHEAD):
        self.policy, self.limit = policy, limit
        self.counts = {
            "refused_chunks": 0, "interrupted_chunks": 0, "foreign_stamps": 0,
            "overlapping_stamps": 0, "repeated_chunks": 0, "mixed_senders": 0,
        }  # fmt: skip
        self.skipped = 0.0  # s of sound left out because its time had passed
        self._turns: deque[Turn] = deque()
        self._ended: dict[tuple[str, str], _EndedTurn] = {}
        self._looked = math.inf  # when `take` was called last

    def __len__(self) -> int:
        """Pieces that wait."""
        return sum(len(turn.chunks) for turn in self._turns)

    @property
    def seconds(self) -> float:
        """Sound that waits."""
        return sum(turn.seconds for turn in self._turns)

    @property
    def utterances(self) -> list[str]:
        """Those that speak or wait, in order."""
        return [turn.utterance for turn in self._turns]

    def put(
        self, chunk: Chunk, now: float, sent: float | None = None, sender: str = ""
    ) -> list[str]:
        """Takes a chunk at `now`, which `sender` sent at `sent` (now, if that is not known): the
        two differ where this process stood still. Returns the utterances that it ends at once.

        Raises AudioError, which says why, if more sound waits than may.
        """
        sent = now if sent is None else min(sent, now)
        if self._is_ignored(chunk, sent, sender):
            self.counts["interrupted_chunks"] += 1
            return []
        turn, new = self._turn_of(chunk.utterance, sender, sent)
        if self.seconds + chunk.seconds > self.limit:
            self.counts["refused_chunks"] += 1
            raise AudioError(
                f"more than {self.limit:g} s of sound wait to be spoken; a chunk was left out: "
                "send it later"
            )
        placed = self._place(turn, chunk, sent)
        if placed is None:
            return []
        chunk = placed
        ended: list[str] = []
        if new:
            if not len(chunk.pcm):
                return []
            if self.policy == "replace":
                ended = self._pre_empt(chunk.start, now)
            elif self._turns:
                before = self._turns[-1]
                turn.wait = max(0.0, before.end - chunk.start) if before.over else 0.0
                chunk = replace(chunk, start=chunk.start + turn.wait)
            self._turns.append(turn)
        turn.put(chunk, now, sent)
        return ended

    def take(self, now: float, ahead: float) -> Chunk | None:
        """The next piece that is heard before `now` + `ahead`, or None.

        Sound of an utterance that goes on is left out if its time has passed; `skipped` grows.
        """
        if now - self._looked > HOLE:  # what came meanwhile may not have been put yet
            for turn in self._turns:
                turn.quiet_after = max(turn.quiet_after, now + SILENCE)
        self._looked = now
        while self._turns:
            turn = self._turns[0]
            if turn.chunks:
                self._catch_up(turn, now)
            if turn.chunks:
                if turn.chunks[0].start > now + ahead:
                    return None
                chunk = turn.chunks.popleft()
                turn.begun = True
                turn.seconds = turn.seconds - chunk.seconds if turn.chunks else 0.0
                return chunk
            silent = now > turn.quiet_after
            if not turn.over and not silent:
                return None
            if len(self._turns) == 1:
                if silent:
                    self._turns.popleft()
                return None
            self._turns.popleft()
            self._put_off(self._turns[0], turn.end)
        return None

    def _catch_up(self, turn: Turn, now: float) -> None:
        """Leaves out what should have been heard while this process stood still."""

        def past() -> float:
            first = turn.chunks[0]
            return now - first.start - first.seconds

        if past() <= STALE + max(0.0, turn.late):
            return
        if not turn.begun and not turn.in_real_time:
            # Nobody waits for the rest of it: all of it is said, later.
            delay = now - turn.chunks[0].start
            turn.wait += delay
            turn.move(delay)
            return
        # What follows comes as early as its sender sends it, or it would all be shown later.
        while past() > max(turn.late, -EARLY):
            piece = turn.chunks.popleft()
            self.skipped += piece.seconds
            turn.seconds -= piece.seconds
            if not turn.chunks:
                if piece.last:  # must be told
                    turn.chunks.append(replace(piece, pcm=piece.pcm[:0]))
                return

    def interrupt(self, now: float) -> list[str]:
        """Drops everything. Returns the utterances that were speaking or waiting; chunks that
        still come of them are ignored."""
        ended = self.utterances
        for turn in self._turns:
            self._ignore(turn, now)
        self._turns.clear()
        return ended

    def welcome(self, utterance: str, sender: str = "") -> None:
        """Chunks of `utterance` are heard again."""
        self._ended.pop((utterance, sender), None)

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        for turn in self._turns:
            turn.move(seconds)
            turn.first += seconds
            turn.came += seconds
            turn.jumped = True
            turn.stamp = turn.next_stamp = None
            if turn.clock:  # it was by another clock, or by this one's new time already
                turn.clock += seconds
        for ended in self._ended.values():
            ended.when += seconds
            ended.came += seconds
        self._looked += seconds

    def _turn_of(self, utterance: str, sender: str, sent: float) -> tuple[Turn, bool]:
        """The turn that a chunk belongs to, and whether it is a new one."""
        turns = [t for t in self._turns if t.utterance == utterance]
        for turn in turns:
            if turn.sender == sender:
                return turn, False
        if turns and not turns[-1].speaks(sent):
            turns[-1].sender = sender  # who began it was started anew, say
            return turns[-1], False
        self.counts["mixed_senders"] += bool(turns)
        return Turn(utterance, sender), True

    def _place(self, turn: Turn, chunk: Chunk, sent: float) -> Chunk | None:
        """The chunk with the time at which it is heard; None if it was heard already."""
        stamp, seconds = chunk.start, chunk.seconds
        goes_on = turn.end if turn.end > sent - SILENCE else sent
        if stamp is None:
            return replace(chunk, start=goes_on)
        content = (stamp, hash(chunk.pcm.tobytes()))
        if content in turn.contents and len(chunk.pcm):
            self.counts["repeated_chunks"] += 1
            return None
        turn.contents.append(content)
        before, turn.stamp = turn.stamp, stamp
        turn.stamped += 1
        if turn.next_stamp is not None and abs(stamp - turn.next_stamp) > REGULAR:
            turn.irregular += 1
        turn.next_stamp = stamp + seconds

        def sane(start: float) -> bool:
            return start + seconds >= sent - BEHIND and start <= sent + AHEAD

        jumped, turn.jumped = turn.jumped, False
        for clock in (turn.clock, 0.0):
            # Sound that had to wait for its turn lies behind its stamps, which is no jump.
            start = stamp + clock + turn.wait
            off = start - turn.end  # where its sender's stamps put it, beside the sound before it
            if abs(off) <= MAX_GAP or sane(stamp + clock):
                if jumped and -MAX_GAP <= off < 0:
                    clock, off = clock - off, 0.0
                turn.clock = clock
                if abs(off) <= TOLERANCE:
                    return replace(chunk, start=turn.end)
                if off > 0:
                    return replace(chunk, start=start)
                if before is not None and stamp < before:
                    self.counts["repeated_chunks"] += 1
                    return None  # another chunk was there before it
                if self._drifts(turn, sent):
                    return self._trim(chunk, -off, turn.end)
                self.counts["overlapping_stamps"] += 1
                return replace(chunk, start=turn.end)
        self.counts["foreign_stamps"] += 1
        turn.clock = goes_on - turn.wait - stamp
        return replace(chunk, start=goes_on)

    @staticmethod
    def _drifts(turn: Turn, sent: float) -> bool:
        """Whether a sender speaks in real time, by a clock that is not quite that of his stamps."""
        gone = sent - turn.first
        return turn.received > STEADY and abs(turn.received / max(gone, 1e-3) - 1) < DRIFT

    @staticmethod
    def _trim(chunk: Chunk, seconds: float, start: float) -> Chunk | None:
        pcm = chunk.pcm[round(seconds * chunk.sample_rate) :]
        return replace(chunk, pcm=pcm, start=start) if len(pcm) or chunk.last else None

    def _pre_empt(self, start: float, now: float) -> list[str]:
        """A new utterance begins at `start`. Returns those that this ends at once."""
        ended = []
        for turn in self._turns:
            if turn.end > start or not turn.over:
                if not turn.over:
                    self._ignore(turn, now)
                if start <= now + 0.2:
                    ended.append(turn.utterance)
            if turn.end > start:
                turn.cut(start)
            turn.over = True
        if ended:
            self._turns.clear()
        return ended

    def _put_off(self, turn: Turn, end: float) -> None:
        """`turn` speaks after `end`, however early it came."""
        late = end - turn.chunks[0].start if turn.chunks else 0.0
        if late > 0:
            turn.wait += late
            turn.move(late)

    def _ignore(self, turn: Turn, now: float) -> None:
        key = turn.utterance, turn.sender
        self._ended.pop(key, None)
        self._ended[key] = _EndedTurn.of(turn, now)
        while len(self._ended) > MAX_IGNORED:
            self._ended.pop(next(iter(self._ended)))

    def _is_ignored(self, chunk: Chunk, sent: float, sender: str) -> bool:
        """Whether a chunk belongs to what was ended, and so is not to be heard any more."""
        key = chunk.utterance, sender
        ended = self._ended.get(key)
        if ended is None:
            return False
        more = ended.goes_on(chunk, sent)
        if chunk.last or not more:
            del self._ended[key]
            return more
        ended.came = sent
        ended.sound = chunk.pcm if len(chunk.pcm) else ended.sound
        if chunk.start is not None:
            ended.stamp = chunk.start + chunk.seconds
        return True
