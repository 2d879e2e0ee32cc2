# SPDX-License-Identifier: MIT
"""Programs run with an allocator preloaded, and what they took: check-programs' hands.

A Box is a folder and the processes that work in it. measured() runs a command with the allocator in it and in all
its children, server() one that stays while others speak to it; plain() and client() run a command on the system's
malloc, and client()'s time counts, being the time that the server takes. Whatever goes wrong is Failed with one line;
whatever happens, end_all() leaves no process.

Peak memory is ru_maxrss of wait4: the most that any one process of the command had resident at once, exact and not
sampled. Linux hands the peak down: a process starts with that of the process image it was before exec, Python's
here, which would hide any small program's. So `setsid --fork` starts each command: its child is a process without a
past, and comes to us, who are the reaper of our orphans, to be waited for.
"""

import ctypes
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
# Allocators' own settings reach the programs; nothing else of the environment does but these.
SETTINGS = ("KMM_", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_TUNABLES")
TELLING = re.compile(r"error|fatal|abort|signal|kmm:|segmentation", re.IGNORECASE)
READY_SECONDS = 30
STOP_SECONDS = 20


class Failed(Exception):
    """A program did not do what it should have; the text is one line."""


class TimedOut(Exception):
    """The clock that wait() sets has rung."""


def on_alarm(_signal, _frame):
    raise TimedOut


def adopt_orphans():
    """Orphans of this process's children become its own children, so that none is lost."""
    signal.signal(signal.SIGALRM, on_alarm)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans")


def parents():
    """{process: its parent} of all there are."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                found[int(pid)] = int(f.read().rpartition(b")")[2].split()[1])
        except OSError:
            pass  # it has ended meanwhile
    return found


def children():
    return {pid for pid, parent in parents().items() if parent == os.getpid()}


def descendants():
    table = parents()
    found, border = set(), {os.getpid()}
    while border:
        border = {pid for pid, parent in table.items() if parent in border} - found
        found |= border
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end_all():
    """Kill every process that came of this one, and wait until there is none."""
    while pids := descendants():
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.005)


def how_it_ended(status):
    """'' for success, else words."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"exit status {code}" if code else ""


def digest(path):
    """The SHA-256 of a file, as a line."""
    try:
        with open(path, "rb") as f:
            return f"{os.path.basename(path)} {hashlib.sha256(f.read()).hexdigest()}\n"
    except OSError as e:
        raise Failed(f"{os.path.basename(path)}: {e.strerror}") from None


class Usage:
    """What the measured processes of one run took together: times are summed, of peaks the highest counts."""

    def __init__(self):
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.peak_kib = 0

    def add(self, seconds, rusage):
        self.seconds += seconds
        if rusage:
            self.cpu_seconds += rusage.ru_utime + rusage.ru_stime
            self.peak_kib = max(self.peak_kib, rusage.ru_maxrss)


class Server:
    """A running server; see Box.server()."""

    def __init__(self, box, argv, user, ready, stop_signal):
        self.box, self.ready, self.stop_signal = box, ready, stop_signal
        self.name = os.path.basename(argv[0])
        self.pid = box.spawn(argv, box.library, box.cpus[-1:], user, "server")

    def __enter__(self):
        limit = time.monotonic() + READY_SECONDS
        while not self.ready():
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended or time.monotonic() > limit:
                self.fail(os.waitpid(self.pid, 0)[1] if ended else None, "is not ready after 30 s")
            time.sleep(0.02)
        return self

    def fail(self, status, otherwise):
        words = how_it_ended(status) if status is not None else otherwise
        raise Failed(f"{self.name} {words or 'ended by itself'}{self.box.last_words('server')}")

    def __exit__(self, kind, _value, _trace):
        # One that is gone already is why its client failed, so that is what is said.
        if kind and not issubclass(kind, (Failed, TimedOut)):
            return False
        pid, status, rusage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.fail(status, "")
        os.kill(self.pid, self.stop_signal)
        try:
            status, rusage = self.box.wait(self.pid, STOP_SECONDS)
        except TimedOut:
            raise Failed(f"{self.name} does not stop") from None
        if not kind and how_it_ended(status):
            self.fail(status, "")
        self.box.usage.add(0, rusage)
        return False


class Box:
    """Where a program works: `data` is what prepare() made, `work` is emptied before each run, and stands where it
    stood in every other, so that paths in outputs are equal."""

    def __init__(self, folder, cpus, threaded, quick, timeout):
        self.folder, self.quick, self.timeout = folder, quick, timeout
        self.cpus = cpus if threaded else cpus[-1:]
        self.all_cpus = cpus
        self.data, self.work = os.path.join(folder, "data"), os.path.join(folder, "work")
        self.library = None
        self.usage = Usage()
        os.makedirs(self.data)
        self.environment = {k: v for k, v in os.environ.items() if k.startswith(SETTINGS + ("PATH",))}
        self.environment.update(
            HOME=self.work, TMPDIR=self.work, LC_ALL="C.UTF-8", TZ="UTC", PYTHONHASHSEED="0",
            PYTHONDONTWRITEBYTECODE="1", GIT_CONFIG_NOSYSTEM="1")

    def fresh(self, library):
        """Ready for a run on another allocator, or the same again."""
        self.library = library
        self.usage = Usage()
        if os.path.exists(self.work):
            shutil.rmtree(self.work)
        os.mkdir(self.work)

    def size(self, full, quick):
        return quick if self.quick else full

    def write(self, name, text):
        """A file among the data, and its path."""
        path = os.path.join(self.data, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def hand_over(self, path, user):
        """Folder and what is in it belong to a user who can get there."""
        for folder in (os.path.dirname(self.folder), self.folder):
            os.chmod(folder, os.stat(folder).st_mode | stat.S_IXGRP | stat.S_IXOTH)
        if user:
            for root, _, names in os.walk(path):
                for name in ["."] + names:
                    os.lchown(os.path.join(root, name), user.pw_uid, user.pw_gid)

    def log(self, name, kind):
        return os.path.join(self.folder, f"{name}.{kind}")

    def errors(self, name):
        """The lines of a command's standard error that are not empty."""
        with open(self.log(name, "err"), encoding="utf-8", errors="replace") as f:
            return [line.strip() for line in f if line.strip()]

    def last_words(self, name):
        """The first of them that says what is wrong, or else the last, to follow a message; '' for none."""
        lines = self.errors(name)
        telling = [line for line in lines if TELLING.search(line)] + lines[-1:]
        return f": {telling[0][:200]}" if telling else ""

    def spawn(self, argv, library, cpus, user, name, stdin=None, environment=()):
        """Start a command in the work folder, and return its process id. Its outputs go to name.out and name.err."""
        start = ["setsid", "--fork", "taskset", "-c", ",".join(map(str, cpus))]
        if user:
            start += ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        start += ["env", *environment] + ([f"LD_PRELOAD={library}"] if library else [])
        before = children()
        with open(stdin or os.devnull, "rb") as i, \
                open(self.log(name, "out"), "wb") as o, open(self.log(name, "err"), "wb") as e:
            subprocess.run(start + list(argv), stdin=i, stdout=o, stderr=e, cwd=self.work,
                           env=self.environment, check=True)
        return min(children() - before)

    @staticmethod
    def wait(pid, seconds):
        """(status, rusage) of a child; TimedOut when it takes longer."""
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return os.wait4(pid, 0)[1:]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def run(self, argv, library, cpus, name, user=None, **how):
        """Run a command to its end: (standard output, seconds, rusage). Failed if that is no success."""
        began = time.monotonic()
        pid = self.spawn(argv, library, cpus, user, name, **how)
        try:
            status, rusage = self.wait(pid, self.timeout)
        except TimedOut:
            raise Failed(f"{os.path.basename(argv[0])} did not end within {self.timeout:g} s") from None
        seconds = time.monotonic() - began
        if words := how_it_ended(status):
            raise Failed(f"{os.path.basename(argv[0])} {words}{self.last_words(name)}")
        with open(self.log(name, "out"), encoding="utf-8", errors="replace") as f:
            return f.read(), seconds, rusage

    def measured(self, *argv, **how):
        """Standard output of a command under the allocator, children included; it counts in `usage`."""
        out, seconds, rusage = self.run(argv, self.library, self.cpus, "measured", **how)
        self.usage.add(seconds, rusage)
        return out

    def plain(self, *argv, **how):
        """Standard output of a command on the system's malloc that does not count."""
        return self.run(argv, None, self.all_cpus, "plain", **how)[0]

    def client(self, *argv, **how):
        """plain() for a server's client, on the other CPU: the time it takes counts, and nothing else."""
        out, seconds, _ = self.run(argv, None, self.all_cpus[:1], "client", **how)
        self.usage.add(seconds, None)
        return out

    def server(self, *argv, ready, user=None, stop_signal=signal.SIGTERM):
        """A context in which the command runs under the allocator, from ready() on. Its processor time and peak
        count; it is stopped by the signal, and has to end well."""
        return Server(self, argv, user, ready, stop_signal)

    def answers(self, *argv):
        """Does the command succeed? For ready()."""
        try:
            self.plain(*argv)
        except Failed:
            return False
        return True
