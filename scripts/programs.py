# SPDX-License-Identifier: MIT
"""The real programs of check-programs: what each needs, prepares and runs, and what of its output must be the same.

A program is a class below, and its place in PROGRAMS the order in which they run. prepare() makes inputs once, with
nothing preloaded; run() does the work in a fresh folder and returns text that is the same in every run on a correct
allocator: no times, no addresses, no order that threads decide. To add one, write such a class. Inputs are made here
from fixed seeds, or by the scripts in the folder programs; nothing is fetched.
"""

import glob
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys

from preloaded import digest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")


class Program:
    """One that runs on one CPU and is there when its commands are."""

    name = ""
    what = ""
    commands = ()
    threaded = False

    def missing(self):
        """Why it cannot run here; '' when it can."""
        absent = [c for c in self.commands if not shutil.which(c)]
        return f"{absent[0]} is not installed" if absent else ""

    def prepare(self, box):
        pass

    def run(self, box):
        raise NotImplementedError


def script(name):
    return os.path.join(SCRIPTS, name)


def output(*argv):
    """What a command puts out; '' if it cannot be run."""
    try:
        return subprocess.run(argv, check=False, capture_output=True, text=True).stdout
    except OSError:
        return ""


def succeeds(*argv):
    try:
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def c_function(rng, n):
    """Some twenty lines of C: a struct, a loop, a switch, calls of what came before."""
    fields = rng.randrange(2, 7)
    lines = [f"struct s{n} {{", *(f"\tlong a{i}[{rng.randrange(1, 5)}];" for i in range(fields)), "};",
             f"long f{n}(long x, struct s{n} *p)", "{", "\tlong sum = 0;",
             f"\tfor (long i = 0; i < x % {rng.randrange(3, 99)}; i++) {{",
             f"\t\tswitch ((i ^ x) & {rng.choice((3, 7))}) {{"]
    for case in range(rng.randrange(2, 6)):
        lines += [f"\t\tcase {case}:",
                  f"\t\t\tsum += p->a{rng.randrange(fields)}[0] * {rng.randrange(1, 999)} + i;",
                  "\t\t\tbreak;"]
    called = rng.randrange(n) if n else None
    lines += ["\t\tdefault:", f"\t\t\tp->a{rng.randrange(fields)}[0] ^= sum;", "\t\t}", "\t}"]
    if called is not None:
        lines += [f"\tif (sum & {1 << rng.randrange(8)})", f"\t\tsum -= f{called}(sum, (void *)p);"]
    return lines + ["\treturn sum;", "}", ""]


class Gcc(Program):
    name = "gcc"
    what = "gcc -g: a C file of 50,000 lines"
    commands = ("gcc",)

    def prepare(self, box):
        rng, lines = random.Random(1), []
        n = 0
        while len(lines) < box.size(50000, 4000):
            lines += c_function(rng, n)
            n += 1
        self.source = box.write("large.c", "\n".join(lines))

    def run(self, box):
        box.measured("gcc", "-g", "-c", self.source, "-o", "large.o")
        return digest(os.path.join(box.work, "large.o"))


FEW_HEADERS = "algorithm functional map memory numeric regex set unordered_map variant vector"
HEADERS = FEW_HEADERS + (" any array chrono complex deque filesystem fstream future iomanip iostream list mutex optional"
                         " queue random sstream string thread tuple")


def cxx_part(n):
    """A type, and containers, algorithms and closures made for it alone."""
    return f"""
struct t{n} {{
	int a;
	std::string b;
	double c[{n % 7 + 1}];
	bool operator<(const t{n} &o) const {{ return a < o.a; }}
}};
long use{n}(const std::string &text)
{{
	std::map<std::string, std::vector<std::unique_ptr<t{n}>>> index;
	std::unordered_map<int, std::set<t{n}>> sets;
	std::variant<int, std::string, std::shared_ptr<t{n}>> one = std::make_shared<t{n}>();
	std::vector<t{n}> all({n % 50 + 2});
	std::function<long(const t{n} &)> weigh = [&](const t{n} &x) {{ return x.a + long(x.b.size() + text.size()); }};
	for (auto &x : all) {{
		index[x.b + text].push_back(std::make_unique<t{n}>(x));
		sets[x.a].insert(x);
	}}
	std::stable_sort(all.begin(), all.end(), [](const t{n} &x, const t{n} &y) {{ return y < x; }});
	return std::accumulate(all.begin(), all.end(), long(one.index()),
		[&](long s, const t{n} &x) {{ return s + weigh(x); }});
}}
"""


class Gxx(Program):
    name = "g++"
    what = "g++ -g: all of the STL's headers, regex among them, and templates upon them"
    compiler = "g++"
    commands = (compiler,)

    def prepare(self, box):
        names = box.size(HEADERS, FEW_HEADERS)
        headers = "".join(f"#include <{h}>\n" for h in names.split())
        regex = 'bool match(const std::string &s) { return std::regex_search(s, std::regex("(a|b)+c{2,3}[x-z]*$")); }\n'
        parts = "".join(map(cxx_part, range(box.size(2, 1))))
        self.source = box.write("large.cc", headers + regex + parts)

    def run(self, box):
        box.measured(self.compiler, "-std=c++17", "-O0", "-g", "-c", self.source, "-o", "large.o")
        return digest(os.path.join(box.work, "large.o"))


class Clang(Gxx):
    name = "clang"
    what = "clang++ -g: the same file"
    compiler = "clang++"
    commands = (compiler,)


class Python(Program):
    name = "python3"
    what = "a part of Python's own tests; PYTHONMALLOC=malloc, so that every object is the allocator's"

    def missing(self):
        for python in ("/usr/bin/python3", sys.executable):
            if succeeds(python, "-c", "import test.test_json, test.test_dict"):
                self.python = python
                return ""
        return "python3's own tests are not installed"

    def run(self, box):
        tests = box.size("json list dict set re string deque tuple copy", "json list dict re")
        box.measured(self.python, "-m", "unittest", *("test.test_" + t for t in tests.split()),
                     environment=["PYTHONMALLOC=malloc"])
        # The verdict is on standard error: "Ran 123 tests in 4.5s", "OK (skipped=6)".
        lines = [line.partition(" in ")[0] for line in box.errors("measured")]
        return "\n".join(line for line in lines if line.startswith(("Ran ", "OK", "FAILED")))


def history(commits):
    """A repository's history as git fast-import reads it: text files that grow and change, some of them renamed."""
    rng = random.Random(2)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(2, 10))) for _ in range(3000)]
    files = {}
    for n in range(commits):
        yield f"commit refs/heads/main\ncommitter A <a@b> {1600000000 + n * 1000} +0000\ndata {len(str(n))}\n{n}\n"
        for _ in range(rng.randrange(1, 6)):
            path = f"d{rng.randrange(20)}/f{rng.randrange(40)}"
            lines = files.setdefault(path, [])
            for _ in range(rng.randrange(1, 30)):
                lines.insert(rng.randrange(len(lines) + 1), " ".join(rng.choices(words, k=8)))
            del lines[rng.randrange(len(lines) + 1):][:5]
            text = "\n".join(lines[:2000]) + "\n"
            yield f"M 644 inline {path}\ndata {len(text)}\n{text}\n"


class Git(Program):
    name = "git"
    what = "git clone, gc and log of a history of 1,000 commits; packs on two threads"
    commands = ("git",)
    threaded = True

    def prepare(self, box):
        box.fresh(None)
        self.origin = os.path.join(box.data, "origin")
        stream = box.write("history", "".join(history(box.size(1000, 150))))
        box.plain("git", "init", "--quiet", "--bare", "--initial-branch=main", self.origin)
        box.plain("git", "-C", self.origin, "fast-import", "--quiet", stdin=stream)

    def run(self, box):
        settings = ("pack.threads=2", "gc.autoDetach=false", "core.fsync=none")
        git = ("git", *(word for s in settings for word in ("-c", s)))
        box.measured(*git, "clone", "--quiet", "--no-local", self.origin, "clone")
        box.measured(*git, "-C", "clone", "gc", "--quiet", "--aggressive", "--prune=now")
        log = box.measured(*git, "-C", "clone", "log", "--stat", "-M", "--format=%H %T")
        box.plain(*git, "-C", "clone", "fsck", "--full", "--strict", "--no-progress")
        return log


class Sqlite(Program):
    name = "sqlite3"
    what = "a table of 10^6 rows: filled, indexed, and asked"
    commands = ("sqlite3",)

    def prepare(self, box):
        with open(script("sqlite.sql"), encoding="utf-8") as f:
            self.sql = box.write("sqlite.sql", f.read().replace("@ROWS@", str(box.size(1000000, 50000))))

    def run(self, box):
        return box.measured("sqlite3", "-bail", "rows.db", stdin=self.sql)


def redis_commands(count):
    """Commands, one a line, on keys of every type: strings that grow, shrink and go, lists, hashes, sets, sorted sets."""
    rng = random.Random(3)
    filler = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=4096))
    forms = ("SET s{k} {long}", "APPEND s{k} {short}", "DEL s{k}", "RPUSH l{list} {short}", "LPOP l{list}",
             "HSET h{hash} f{field} {short}", "HDEL h{hash} f{field}", "SADD m{list} {n}", "ZADD z{list} {n} {field}")
    for _ in range(count):
        k = rng.randrange(60000)
        yield rng.choice(forms).format(
            k=k, list=k % 3000, hash=k % 5000, field=rng.randrange(300), n=rng.randrange(99999),
            short=filler[:rng.randrange(1, 99)], long=filler[:int(4 ** rng.uniform(1, 6))]) + "\r\n"


class Redis(Program):
    name = "redis"
    what = "redis-server: a mix of commands, then redis-benchmark; the client is on glibc and its own CPU"
    commands = ("redis-cli", "redis-benchmark", "redis-check-rdb")

    def prepare(self, box):
        self.load = box.write("load", "".join(redis_commands(box.size(300000, 20000))))
        # Debian's redis-tools have the server's program under a tool's name: no service need be set up for this.
        self.server = os.path.join(box.data, "redis-server")
        os.symlink(shutil.which("redis-server") or os.path.realpath(shutil.which("redis-check-rdb")), self.server)

    def run(self, box):
        socket = os.path.join(box.work, "socket")
        cli = ("redis-cli", "-s", socket)
        settings = ("--port", "0", "--unixsocket", socket, "--save", "", "--enable-debug-command", "yes")
        with box.server(self.server, *settings, ready=lambda: box.answers(*cli, "ping")):
            out = box.client(*cli, "--pipe", stdin=self.load).splitlines()[-1:]
            out += [box.plain(*cli, "debug", "digest"), box.plain(*cli, "dbsize")]
            box.client("redis-benchmark", "-s", socket, "-q", "-n", str(box.size(50000, 5000)), "-r", "100000",
                       "-d", "200", "-P", "16", "-c", "20", "-t",
                       "set,get,incr,lpush,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset")
            out += [box.plain(*cli, "debug", "digest-value", "l1", "h1", "m1", "z1")]
            out += [box.plain(*cli, "flushall"), box.plain(*cli, "dbsize")]
        return "\n".join(out)


class Postgres(Program):
    name = "postgres"
    what = "PostgreSQL: pgbench with four clients, then queries that sort, hash and join; clients as redis's"

    def missing(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
        if not found[-1]:
            return "postgresql is not installed"
        self.bin = os.path.dirname(found[-1])
        self.user = None
        if os.getuid() == 0:  # whom it refuses to run as
            for name in ("postgres", "nobody"):
                try:
                    self.user = pwd.getpwnam(name)
                    return ""
                except KeyError:
                    pass
            return "it does not run as root, and there is no user postgres or nobody"
        return ""

    def tool(self, name):
        return os.path.join(self.bin, name)

    def serve(self, box, folder):
        settings = {
            "listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "synchronous_commit": "off",
            "full_page_writes": "off", "autovacuum": "off", "shared_buffers": "16MB", "work_mem": "64MB", "jit": "off",
            "max_wal_size": "1GB", "dynamic_shared_memory_type": "mmap", "max_parallel_workers_per_gather": "0",
        }
        options = [word for k, v in settings.items() for word in ("-c", f"{k}={v}")]
        # SIGINT: a fast shutdown.
        return box.server(self.tool("postgres"), "-D", folder, *options, user=self.user, stop_signal=signal.SIGINT,
                          ready=lambda: box.answers(self.tool("pg_isready"), "-q", "-h", folder))

    def prepare(self, box):
        box.fresh(None)
        self.cluster = os.path.join(box.data, "cluster")
        os.mkdir(self.cluster)
        box.hand_over(self.cluster, self.user)
        box.plain(self.tool("initdb"), "-D", self.cluster, "-U", "kmm", "-A", "trust", "-E", "UTF8", "--locale=C",
                  "--no-sync", "--wal-segsize=1", user=self.user)
        with self.serve(box, self.cluster):
            box.plain(self.tool("pgbench"), "-h", self.cluster, "-U", "kmm", "-i", "-q", "-s", "1", "postgres")

    def run(self, box):
        folder = os.path.join(box.work, "c")
        box.plain("cp", "-a", self.cluster, folder)
        to = ("-h", folder, "-U", "kmm")
        with self.serve(box, folder):
            box.client(self.tool("pgbench"), *to, "-n", "-c", "4", "-t", str(box.size(1500, 100)), "--random-seed=4",
                       "postgres")
            return box.client(self.tool("psql"), *to, "-XAtq", "-v", "ON_ERROR_STOP=1", "-v",
                              f"rows={box.size(100000, 10000)}", "-f", script("postgres.sql"), "postgres")


class Gnuplot(Program):
    name = "gnuplot"
    what = "gnuplot: curves smoothed and sorted, contours and a surface, as SVG"
    commands = ("gnuplot",)

    def run(self, box):
        box.measured("gnuplot", "-e", f"n={box.size(80000, 10000)}", script("gnuplot.gp"))
        return "".join(digest(os.path.join(box.work, name)) for name in ("curves.svg", "surface.svg"))


class Node(Program):
    name = "node"
    what = "node: JSON, strings, buffers, zlib and a worker thread"
    commands = ("node",)
    threaded = True

    def run(self, box):
        return box.measured("node", script("node.js"), str(box.size(40, 4)))


class Perl(Program):
    name = "perl"
    what = "perl: hashes of lists, words counted and sorted, substitutions"
    commands = ("perl",)

    def run(self, box):
        return box.measured("perl", script("perl.pl"), str(box.size(200000, 20000)))


def rust_part(n):
    return f"""
pub mod m{n} {{
	use std::collections::{{BTreeMap, HashMap}};
	#[derive(Clone, Debug, PartialEq, PartialOrd)]
	pub struct Item {{
		pub id: u64,
		pub name: String,
		pub parts: Vec<Option<u32>>,
		pub pair: (i64, [u8; {n % 9 + 1}]),
	}}
	pub fn make(k: u64) -> Vec<Item> {{
		(0..k % 50 + {n})
			.map(|i| Item {{
				id: i * {2 * n + 1},
				name: format!("{{:x}}-{{}}", i, k),
				parts: vec![Some(i as u32), None],
				pair: (i as i64, [0; {n % 9 + 1}]),
			}})
			.collect()
	}}
	pub fn sum(k: u64) -> u64 {{
		let items = make(k);
		let mut index: BTreeMap<String, Vec<Item>> = BTreeMap::new();
		let mut lengths: HashMap<usize, u64> = HashMap::new();
		for item in &items {{
			index.entry(item.name.clone()).or_default().push(item.clone());
			*lengths.entry(item.name.len()).or_insert(0) += item.id;
		}}
		let some = index.values().flatten().filter(|i| i.parts.iter().any(|p| p.is_some()));
		some.map(|i| i.id).sum::<u64>() + lengths.values().sum::<u64>()
	}}
}}
"""


class Cargo(Program):
    name = "cargo"
    what = "cargo build --release: rustc on two threads"
    threaded = True

    def missing(self):
        self.cargo = "/usr/bin/cargo" if os.path.exists("/usr/bin/cargo") else shutil.which("cargo")
        self.rustc = "/usr/bin/rustc" if os.path.exists("/usr/bin/rustc") else shutil.which("rustc")
        if not self.cargo or not self.rustc:
            return "cargo is not installed"
        # Rust's own builds, unlike Debian's, have a malloc in the program, which comes before any preloaded one.
        program = os.path.join(output(self.rustc, "--print", "sysroot").strip(), "bin", "rustc")
        return "this rustc brings its own malloc" if " malloc\n" in output("nm", "-D", "--defined-only", program) else ""

    def prepare(self, box):
        parts = range(box.size(4, 1))
        box.write("Cargo.toml", '[package]\nname = "crate"\nversion = "0.1.0"\nedition = "2021"\n'
                  '[[bin]]\nname = "crate"\npath = "main.rs"\n[profile.release]\ncodegen-units = 8\n')
        sums = " + ".join(f"m{n}::sum({n})" for n in parts)
        box.write("main.rs", "".join(map(rust_part, parts)) + f'fn main() {{ println!("{{}}", {sums}); }}\n')

    def run(self, box):
        box.measured(self.cargo, "build", "--offline", "--quiet", "--release", "--jobs=2", "--target-dir", "target",
                     "--manifest-path", os.path.join(box.data, "Cargo.toml"), environment=[f"RUSTC={self.rustc}"])
        return box.plain(os.path.join(box.work, "target/release/crate"))


class StressNg(Program):
    name = "stress-ng"
    what = "stress-ng --malloc: two processes of two threads more each, with its own checks of what memory holds"
    commands = ("stress-ng",)
    threaded = True

    def run(self, box):
        box.measured("stress-ng", "--malloc", "2", "--malloc-pthreads", "2", "--malloc-ops",
                     str(box.size(200000, 20000)), "--malloc-max", "8192", "--no-rand-seed", "--verify",
                     "--timeout", "60", "--temp-path", ".")
        said = "successful run completed"
        return "\n".join(said for line in box.errors("measured") if said in line)


PROGRAMS = [kind() for kind in (Gcc, Gxx, Clang, Python, Git, Sqlite, Redis, Postgres, Gnuplot, Node, Perl, Cargo,
                                StressNg)]
