// SPDX-License-Identifier: MIT
//
// The only C++ of kmm: Google Benchmark 1.7 behind gbench.h. Results come through a reporter of our
// own; its run loop, threads, barrier, clock, flags and interleaving are Google Benchmark's.
//
// What must be known of its real time: a repetition's figure is the sum of its threads' timed parts
// over the number of threads, and its iterations are the sum over the threads.

#include "bench/run/gbench.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace
{

struct Registered {
	gbench_ops ops;
	void *user;
	// Of the repetition under way: threads that are through, and what they took in all.
	std::atomic<int> nr_ended{0};
	std::atomic<int64_t> ns{0};

	Registered(const gbench_ops &callbacks, void *argument) : ops(callbacks), user(argument)
	{
	}
};

gbench_report *report_measured;

// By name. Google Benchmark keeps registrations for the life of the process, so we do as well.
std::map<std::string, std::unique_ptr<Registered>> registered;

struct {
	int repetitions = 9;
	double min_time = 0;
	bool list_only = false;
	bool negative = false;
	bool all = true;
	std::regex filter;
} flags;

void run_case(benchmark::State &state, Registered &r)
{
	using Clock = std::chrono::steady_clock;
	int thread = state.thread_index();
	auto n = static_cast<uint64_t>(state.max_iterations);
	Clock::duration took{};

	r.ops.begin(r.user, thread);
	// Once: the batch is all of the iterations. The clock starts in the condition, behind a
	// barrier.
	while (state.KeepRunningBatch(state.max_iterations)) {
		Clock::time_point started = Clock::now();

		r.ops.run(r.user, thread, n);
		took = Clock::now() - started;
	}
	r.ns += std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
	r.ops.end(r.user, thread);
	if (++r.nr_ended < state.threads())
		return;
	gbench_result result = {};
	result.threads = state.threads();
	result.iterations = n;
	result.wall_ns = static_cast<double>(r.ns.exchange(0)) / state.threads();
	r.nr_ended = 0;
	if (report_measured)
		report_measured(r.user, &result);
}

class Reporter : public benchmark::BenchmarkReporter
{
      public:
	explicit Reporter(gbench_report *callback) : callback_(callback)
	{
	}

	bool ReportContext(const Context &) override
	{
		return true;
	}

	void ReportRuns(const std::vector<Run> &runs) override
	{
		for (const Run &run : runs) {
			if (run.run_type != Run::RT_Iteration)
				continue;
			if (run.error_occurred) {
				error = run.benchmark_name() + ": " + run.error_message;
				continue;
			}
			gbench_result result = {};
			result.threads = static_cast<int>(run.threads);
			result.repetition = static_cast<int>(run.repetition_index);
			result.iterations = static_cast<uint64_t>(run.iterations / run.threads);
			result.wall_ns = run.real_accumulated_time * 1e9;
			callback_(registered.at(run.run_name.function_name)->user, &result);
		}
	}

	std::string error;

      private:
	gbench_report *callback_;
};

// The value of --benchmark_NAME=value, or NULL; a flag without a value is "true".
const char *flag_value(const char *argument, const char *name)
{
	std::string prefix = std::string("--benchmark_") + name;

	if (std::strncmp(argument, prefix.c_str(), prefix.size()))
		return nullptr;
	argument += prefix.size();
	return *argument == '=' ? argument + 1 : *argument ? nullptr : "true";
}

bool truth(const std::string &word)
{
	return word != "false" && word != "0" && word != "no" && word != "n" && word != "f" &&
	       word != "off";
}

// Learn what our own planning needs to know of a flag. Throws for a filter that is no regular
// expression.
void learn(const char *argument)
{
	const char *value;

	if ((value = flag_value(argument, "repetitions")))
		flags.repetitions = std::atoi(value);
	else if ((value = flag_value(argument, "min_time")))
		flags.min_time = std::atof(value);
	else if ((value = flag_value(argument, "list_tests")))
		flags.list_only = truth(value);
	else if ((value = flag_value(argument, "filter"))) {
		flags.negative = value[0] == '-';
		value += flags.negative;
		flags.all = !*value || !std::strcmp(value, "all");
		flags.filter = std::regex(flags.all ? "." : value, std::regex::extended);
	}
}

int say(char *error, size_t size, const char *what, const char *why)
{
	std::snprintf(error, size, "%s: %s", what, why);
	return -EINVAL;
}

} // namespace

int gbench_is_flag(const char *argument)
{
	return !std::strncmp(argument, "--benchmark_", 12) || !std::strncmp(argument, "--v=", 4);
}

int gbench_init(int argc, char **argv, char *error, size_t error_size)
try {
	std::vector<std::string> words = {argv[0], "--benchmark_repetitions=9",
					  "--benchmark_enable_random_interleaving=true"};
	std::vector<char *> pointers;
	std::ostringstream swallowed;

	for (int i = 1; i < argc; i++) {
		try {
			learn(argv[i]);
		} catch (const std::regex_error &) {
			return say(error, error_size, argv[i], "not a regular expression");
		}
		// Names are ours to match: Google Benchmark would match its own, which hold the
		// iterations too.
		if (!flag_value(argv[i], "filter"))
			words.push_back(argv[i]);
	}
	if (flags.repetitions < 1)
		return say(error, error_size, "--benchmark_repetitions", "not a number above 0");
	for (std::string &word : words)
		pointers.push_back(word.data());
	pointers.push_back(nullptr);
	int left = static_cast<int>(words.size());
	// It complains of a bad value on cerr, and leaves the flag: the one line is ours to print.
	std::streambuf *cerr_buffer = std::cerr.rdbuf(swallowed.rdbuf());
	benchmark::Initialize(&left, pointers.data());
	std::cerr.rdbuf(cerr_buffer);
	if (left > 1)
		return say(error, error_size, pointers[1],
			   "not a flag, or not a value, of Google Benchmark");
	return 0;
} catch (const std::exception &e) {
	return say(error, error_size, "Google Benchmark", e.what());
}

int gbench_repetitions(void)
{
	return flags.repetitions;
}

double gbench_min_time(void)
{
	return flags.min_time;
}

int gbench_list_only(void)
{
	return flags.list_only;
}

int gbench_selected(const char *name)
try {
	return flags.all || std::regex_search(name, flags.filter) != flags.negative;
} catch (const std::exception &) {
	return 0;
}

int gbench_register(const char *name, int threads, uint64_t iterations, const gbench_ops *ops,
		    void *user)
try {
	if (threads < 1 || !iterations || iterations > INT64_MAX / 1024)
		return -EINVAL;
	auto [at, is_new] = registered.try_emplace(name, std::make_unique<Registered>(*ops, user));
	if (!is_new)
		return -EEXIST;
	Registered *r = at->second.get();
	benchmark::RegisterBenchmark(name, [r](benchmark::State &state) { run_case(state, *r); })
		->Threads(threads)
		->Iterations(static_cast<benchmark::IterationCount>(iterations))
		->UseRealTime();
	return 0;
} catch (const std::exception &) {
	return -ENOMEM;
}

int gbench_run(gbench_report *result, gbench_report *measured, char *error, size_t error_size)
try {
	Reporter reporter(result);
	std::ostringstream swallowed;

	report_measured = measured;
	reporter.SetOutputStream(&swallowed);
	reporter.SetErrorStream(&swallowed);
	benchmark::RunSpecifiedBenchmarks(&reporter, nullptr, ".");
	if (reporter.error.empty())
		return 0;
	std::snprintf(error, error_size, "%s", reporter.error.c_str());
	return -EIO;
} catch (const std::exception &e) {
	std::snprintf(error, error_size, "Google Benchmark: %s", e.what());
	return -EIO;
}
