"""The worker behind a panel: the newest question is answered in a thread, older ones are dropped.

A slider asks faster than anything can answer. So ``submit`` only notes the newest settings; one thread computes them,
and what was superseded meanwhile is never computed or drawn. A long computation may yield answers on the way (the main
run first, then its controls): each is drawn, at most a few a second, and the last one always. A page that is sent more than
it can draw takes no key any more, so while somebody asks answers keep a distance, and what can wait of them is not drawn.

A slider mostly goes on as it went. So once an answer is there and nobody asks, what will probably be asked next is worked
out, too, where that is quick; it is drawn if it is asked.
"""

from __future__ import annotations

import atexit
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import GeneratorType
from typing import Any, ClassVar, NamedTuple

from ...core.messages import unheard

IDLE_SECONDS = 10.0
EXIT_SECONDS = 10.0
DRAW_INTERVAL = 0.2  # seconds; drawing at every 2 ms step left a browser seven seconds behind, 5 Hz left it 0.03 s
PATIENCE = 0.4  # seconds before a computation counts as long: its progress is shown and it can be dropped
QUICK = 1.0  # seconds; what takes longer to answer is not worked out before it is asked
DISTANCE = 0.12  # seconds between two answers' drawings while somebody asks; the workbench's page needs 0.07 for one
PAUSE = 0.05  # seconds in which nobody asks before what can wait is drawn; what cannot is on its way to the page


class Superseded(Exception):
    """Raised inside a computation that nobody waits for any more."""


class Progress(NamedTuple):
    """How far a long computation is. ``left`` is in seconds, None where nobody knows."""

    seconds: float
    done: int
    total: int
    left: float | None
    what: str


class Report:
    """What a computation calls to say how far it is: ``report(done, total, what)``.

    It raises Superseded once a newer question waits, but leaves a short computation the time to give its first answer:
    a slider that is dragged asks faster than that, and would otherwise see nothing until it rests.
    """

    def __init__(self, superseded: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        self._superseded, self._stopped = superseded, stopped
        self.patience = PATIENCE
        self._start = self._stage = time.perf_counter()
        self._state = (0, 0, "")

    def __call__(self, done: int = 0, total: int = 0, what: str = "") -> None:
        now = time.perf_counter()
        if what != self._state[2]:
            self._stage = now
        self._state = (done, total, what)
        if self._stopped() or (self._superseded() and now - self._start > self.patience):
            raise Superseded

    def progress(self) -> Progress:
        """The state at this moment, with the time left if this stage goes on evenly."""
        done, total, what = self._state
        now = time.perf_counter()
        left = (now - self._stage) * (total - done) / done if done else None
        return Progress(now - self._start, done, total, left, what)


class Job:
    """Computes the newest settings in a thread and hands every answer to ``draw``, from that thread.

    Args:
        compute: ``(settings, report)`` to an answer, or to a generator of answers that become more complete.
        draw: takes an answer, and may return what draws the rest of it, which can wait until nobody asks. Only this thread
            calls them, because a figure must have one writer.
        on_error: takes an exception of either.
        on_progress: takes a :class:`Progress` about five times a second while a computation is long.
        on_done: takes what was warned of until the whole answer was there.
        likely: from the settings answered before and those answered now to those that will probably be asked next, or None.
        ahead: ``(settings, report)``: works out what their answer will need, and draws nothing.

    Attributes:
        errors: every exception of every job of this kernel, in order: nothing that fails in a thread goes unseen.
        dropped: how many settings were superseded before they were answered.
        barrier: called in the thread before each answer is drawn; a test may hold it up there.
    """

    errors: ClassVar[list[BaseException]] = []

    def __init__(
        self,
        compute: Callable[[Any, Report], Any],
        draw: Callable[[Any], Callable[[], Any] | None],
        *,
        on_error: Callable[[BaseException], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[list[str]], None] | None = None,
        likely: Callable[[Any, Any], Any] = lambda before, now: None,
        ahead: Callable[[Any, Report], Any] = lambda settings, report: None,
    ) -> None:
        self._compute, self._draw = compute, draw
        self._likely, self._ahead = likely, ahead
        self._on_error, self._on_progress, self._on_done = on_error, on_progress, on_done
        self._changed = threading.Condition()
        self._waiting: list[Any] = []  # empty, or the newest settings
        self._busy = self._looking_ahead = False
        self._answered: Any = None  # the newest settings that were
        self._rest: Callable[[], Any] | None = None  # of the newest answer, if it is not drawn yet
        self._drawn = 0.0  # when an answer was, by time.perf_counter
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self.dropped = 0
        self.barrier: Callable[[], Any] = lambda: None

    def submit(self, settings: Any) -> None:
        """Ask for the answer to these settings; whatever was asked before and is not yet answered is dropped."""
        with self._changed:
            self._stopped.clear()
            self.dropped += len(self._waiting)
            self._waiting = [settings]
            if self._thread is None:
                _working.add(self)
                self._thread = threading.Thread(target=self._work, name="imu_lab job", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def stop(self) -> None:
        """Drop what is waiting and what is being computed (at its next report or answer)."""
        with self._changed:
            self.dropped += len(self._waiting)
            self._waiting = []
            self._stopped.set()
            self._changed.notify_all()

    def wait(self, timeout: float | None = None, ahead: bool = False) -> bool:
        """Block until nothing is waiting or being computed; False if that took longer than ``timeout`` seconds.

        Args:
            ahead: and until nothing is worked out ahead.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._waiting or self._busy or ahead and self._looking_ahead), timeout
            )

    @property
    def stopped(self) -> bool:
        """Whether it was stopped and nothing was asked since."""
        return self._stopped.is_set()

    @classmethod
    def fail(cls, error: BaseException) -> None:
        """Note an exception where tests and users find it."""
        cls.errors.append(error)

    def _superseded(self) -> bool:
        return bool(self._waiting) or self._stopped.is_set()

    def _work(self) -> None:
        while (settings := self._next()) is not None:
            answered, start = False, time.perf_counter()
            try:
                answered = self._tried(lambda: self._answer(settings[0]))
                quick = time.perf_counter() - start < QUICK
                self._tried(self._draw_rest)  # of an older answer, too, where this one failed
            finally:
                with self._changed:
                    self._busy, self._looking_ahead = False, answered
                    self._changed.notify_all()
            if answered:
                self._look_ahead(settings[0], quick)

    def _tried(self, work: Callable[[], Any]) -> bool:
        """Whether this was done."""
        try:
            work()
        except Superseded:
            self.dropped += 1
        except Exception as error:  # a thread has nobody above it: the panel and the list are told instead
            self.fail(error)
            if self._on_error:
                self._on_error(error)
        else:
            return True
        return False

    def _next(self) -> list[Any] | None:
        """The newest settings in a list, or None after a while without any: then the thread ends."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, IDLE_SECONDS):
                self._thread = None
                return None
            settings, self._waiting = self._waiting, []
            self._busy = True
            return settings

    def _look_ahead(self, now: Any, quick: bool) -> None:
        """Work out what will probably be asked next, until something else is; what fails here is told if it is asked."""
        before, self._answered = self._answered, now
        try:
            likely = self._likely(before, now) if quick and before is not None else None
            if likely is not None:
                report = Report(lambda: self._waiting not in ([], [likely]), self._stopped.is_set)
                report.patience = 0.0
                with unheard(), overheard():
                    self._ahead(likely, report)
        except Exception:
            pass
        finally:
            with self._changed:
                self._looking_ahead = False
                self._changed.notify_all()

    def _answer(self, settings: Any) -> None:
        report = Report(self._superseded, self._stopped.is_set)
        ticker = Ticker(lambda: self._on_progress and self._on_progress(report.progress()))
        # In a notebook a thread's warnings would appear under whatever cell ran last, once per slider position.
        with overheard() as caught:
            try:
                self._deliver(self._compute(settings, report), report)
            finally:
                ticker.stop()
        if self._on_done:
            self._on_done(caught)

    def _deliver(self, answers: Any, report: Report) -> None:
        """Draw each answer as it comes, the first at once, the others a few a second, the last one always.

        A finished answer is drawn even if a newer question waits: else nothing would move while a slider is dragged.
        """
        held: list[Any] = []
        last_draw = -DRAW_INTERVAL
        for answer in answers if isinstance(answers, GeneratorType) else (answers,):
            if self._stopped.is_set():
                raise Superseded
            held = [answer]
            if time.perf_counter() - last_draw >= DRAW_INTERVAL:
                self._show(held.pop())
                last_draw = time.perf_counter()
                self._draw_rest()
            report.patience = 0.0  # the rest is dropped as soon as nobody waits for it
            if self._superseded() and isinstance(answers, GeneratorType):
                raise Superseded
        for answer in held:
            self._show(answer)

    def _show(self, answer: Any) -> None:
        self.barrier()
        self._drawn = time.perf_counter()
        self._rest = self._draw(answer)

    def _draw_rest(self) -> None:
        """Draw what could wait, if nobody asks for a moment; else leave the page the time for what it was sent."""
        if self._rest is None:
            return
        with self._changed:
            asked = self._changed.wait_for(lambda: self._waiting, PAUSE)
            apart = self._drawn + DISTANCE - time.perf_counter()
            if asked and not self._changed.wait_for(lambda: not self._waiting, apart):  # unless it is stopped meanwhile
                return
        rest, self._rest = self._rest, None
        rest()


_listening = threading.Lock()
_listeners: dict[int, list[str]] = {}  # by thread
_changes = ExitStack()  # to the process's ways with warnings, while anybody listens


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What is warned of in this thread, which nobody else hears; what other threads warn of goes where it went. Within another
    the inner one hears it.

    Python keeps its ways with warnings once for all threads. The first to listen changes them and the last brings them back:
    two jobs that each did so would bring back what the other had changed, and no later warning would be seen.
    """
    with _listening:
        if not _listeners:
            _changes.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always")
            warnings.showwarning = partial(_shown, warnings.showwarning)
        mine, heard = threading.get_ident(), list[str]()
        outer, _listeners[mine] = _listeners.get(mine), heard
    try:
        yield heard
    finally:
        with _listening:
            del _listeners[mine]
            _listeners.update({} if outer is None else {mine: outer})
            if not _listeners:
                _changes.close()


def _shown(elsewhere: Callable[..., None], message: Any, category: type[Warning], *where: Any, **how: Any) -> None:
    heard = _listeners.get(threading.get_ident())
    if heard is None:
        elsewhere(message, category, *where, **how)
    elif issubclass(category, (UserWarning, RuntimeWarning)):
        heard.append(str(message))


_working: weakref.WeakSet[Job] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    """Let no thread be inside torch while the interpreter is taken down: that aborts the process."""
    for job in list(_working):
        job.stop()
        job.wait(EXIT_SECONDS, ahead=True)


class Ticker:
    """Calls ``tick`` a few times a second from its own thread, once some patience has run out, until stopped."""

    def __init__(self, tick: Callable[[], Any], patience: float = PATIENCE, interval: float = DRAW_INTERVAL) -> None:
        self._tick, self._patience, self._interval = tick, patience, interval
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="imu_lab ticker", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        pause = self._patience
        while not self._stopped.wait(pause):
            with self._lock:
                if not self._stopped.is_set():
                    self._tick()
            pause = self._interval

    def stop(self) -> None:
        """No tick begins or is under way after this returns."""
        self._stopped.set()
        with self._lock:
            pass
