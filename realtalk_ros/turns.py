"""Who speaks when: chunks from anybody in, one utterance after another out, in one timeline.

Stamps say when a chunk is heard. A stamp more than 2 s ago or more than 120 s from now comes from a
clock that is not this machine's (or jumped); it says nothing about now. Such a chunk is heard right
after what its utterance sent before, or at once, and the difference is kept for the rest of the
utterance, so that the pauses in it stay as they were. When this machine's clock jumps in the middle
of an utterance, what its sender stamps by the new time may come before this node hears of the jump,
and the node cannot know the jump better than it hears of the clock: what follows is joined to what
waits, and nothing is left out.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from realtalk_ros.errors import AudioError
from realtalk_ros.pipeline import MAX_GAP, Chunk
from realtalk_ros.timeline import MAX_DELAY

POLICIES = ("replace", "queue")
AHEAD = 120.0  # s, how far ahead of now a stamp can be meant, and how much sound may wait
SILENCE = 0.25  # s without audio after which an utterance is over, though no chunk said `last`
PIECE = 0.2  # s, longer chunks are worked off in pieces of this length
FORGET = 30.0  # s after which the id of an utterance that was interrupted may come again
FORGET_SOON = 1.0  # the same where all of it had come, or the sender gives no id
MAX_IGNORED = 64  # interrupted utterances remembered


class Turn:
    """One utterance that waits or speaks."""

    def __init__(self, utterance: str):
        self.utterance = utterance
        self.chunks: deque[Chunk] = deque()  # pieces not yet handed out
        self.seconds = 0.0  # of sound in them
        self.end = -math.inf  # media time at which what was received ends
        self.clock = 0.0  # s, added to the sender's stamps
        self.wait = 0.0  # s by which it was put off, because somebody else spoke
        self.over = False  # its `last` came
        self.jumped = False  # this machine's clock did, since its last chunk came

    def put(self, chunk: Chunk) -> None:
        assert chunk.start is not None
        step = max(1, round(PIECE * chunk.sample_rate))
        starts = range(0, max(1, len(chunk.pcm)), step)
        for i in starts:
            self.chunks.append(replace(
                chunk, pcm=chunk.pcm[i : i + step], start=chunk.start + i / chunk.sample_rate,
                last=chunk.last and i == starts[-1],
            ))  # fmt: skip
        self.seconds += chunk.seconds
        self.end = max(self.end, chunk.start + chunk.seconds)
        self.over = self.over or chunk.last

    def cut(self, time: float) -> None:
        """Drops what is heard from `time` on; nothing more is expected."""
        self.chunks = deque(c for c in self.chunks if (c.start or 0.0) < time)
        self.seconds = sum(c.seconds for c in self.chunks)
        self.end, self.over = min(self.end, time), True


class Turns:
    """`policy` says what a new utterance does that begins before another has ended: `replace` it,
    or `queue` until it has ended."""

    def __init__(self, policy: str = "replace", limit: float = AHEAD):
        self.policy, self.limit = policy, limit
        self.counts = {"refused_chunks": 0, "interrupted_chunks": 0, "foreign_stamps": 0}
        self._turns: deque[Turn] = deque()
        # Utterances that are not to be heard: when they were seen last, and for how long [s].
        self._ignored: dict[str, tuple[float, float]] = {}

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

    def put(self, chunk: Chunk, now: float) -> list[str]:
        """Takes a chunk that came at `now`. Returns the utterances that it puts an end to at once.

        Raises AudioError, which says why, if more sound waits than may.
        """
        if self._is_ignored(chunk, now):
            self.counts["interrupted_chunks"] += 1
            return []
        turn = next((t for t in self._turns if t.utterance == chunk.utterance), None)
        new = turn is None
        if turn is None:
            turn = Turn(chunk.utterance)
        if self.seconds + chunk.seconds > self.limit:
            self.counts["refused_chunks"] += 1
            raise AudioError(
                f"more than {self.limit:g} s of sound wait to be spoken; a chunk was left out: "
                "send it later"
            )
        chunk = replace(chunk, start=self._start(turn, chunk.start, chunk.seconds, now))
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
        turn.put(chunk)
        return ended

    def take(self, now: float, ahead: float) -> Chunk | None:
        """The next piece that is heard before `now` + `ahead`, or None."""
        while self._turns:
            turn = self._turns[0]
            if turn.chunks:
                if turn.chunks[0].start > now + ahead:
                    return None
                chunk = turn.chunks.popleft()
                turn.seconds = turn.seconds - chunk.seconds if turn.chunks else 0.0
                return chunk
            if not turn.over and now <= turn.end + SILENCE:
                return None
            if len(self._turns) == 1:
                if now > turn.end + SILENCE:
                    self._turns.popleft()
                return None
            self._turns.popleft()
            self._put_off(self._turns[0], turn.end)
        return None

    def interrupt(self, now: float) -> list[str]:
        """Drops everything. Returns the utterances that were speaking or waiting; chunks that
        still come of them are ignored."""
        ended = self.utterances
        for turn in self._turns:
            self._ignore(turn, now)
        self._turns.clear()
        return ended

    def welcome(self, utterance: str) -> None:
        """Chunks of `utterance` are heard again."""
        self._ignored.pop(utterance, None)

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        for turn in self._turns:
            turn.end += seconds
            turn.jumped = True
            if turn.clock:  # it was by another clock, or by this one's new time already
                turn.clock += seconds
            turn.chunks = deque(replace(c, start=c.start + seconds) for c in turn.chunks)
        self._ignored = {
            name: (seen + seconds, patience) for name, (seen, patience) in self._ignored.items()
        }

    def _start(self, turn: Turn, stamp: float | None, seconds: float, now: float) -> float:
        goes_on = turn.end if turn.end > now - SILENCE else now
        if stamp is None:
            return goes_on

        def sane(start: float) -> bool:
            return start + seconds >= now - MAX_DELAY and start <= now + AHEAD

        jumped, turn.jumped = turn.jumped, False
        for clock in (turn.clock, 0.0):
            # Sound that had to wait for its turn lies behind its stamps, which is no jump.
            if sane(stamp + clock):
                if jumped and 0 < (over := turn.end - stamp - clock - turn.wait) <= MAX_GAP:
                    clock += over
                turn.clock = clock
                return stamp + clock + turn.wait
        self.counts["foreign_stamps"] += 1
        turn.clock = goes_on - turn.wait - stamp
        return goes_on

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
            turn.end += late
            turn.chunks = deque(replace(c, start=c.start + late) for c in turn.chunks)

    def _ignore(self, turn: Turn, now: float) -> None:
        patience = FORGET_SOON if turn.over or not turn.utterance else FORGET
        self._ignored.pop(turn.utterance, None)
        self._ignored[turn.utterance] = now, patience
        while len(self._ignored) > MAX_IGNORED:
            self._ignored.pop(next(iter(self._ignored)))

    def _is_ignored(self, chunk: Chunk, now: float) -> bool:
        """Whether a chunk belongs to what was ended, and so is not to be heard any more."""
        name = chunk.utterance
        if name not in self._ignored:
            return False
        seen, patience = self._ignored[name]
        if now - seen > patience:
            del self._ignored[name]
            return False
        if chunk.last:
            del self._ignored[name]
        else:
            self._ignored[name] = now, patience
        return True
