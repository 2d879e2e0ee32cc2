// SPDX-License-Identifier: MIT
// The C++ operators new and delete in all their forms, and what the C++ library makes of them.
#include <malloc.h>

#include <cstdint>
#include <map>
#include <new>
#include <memory>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include "tests/malloc/preload.h"
}

// clang declares them only when it is told to use them.
void operator delete(void *, std::size_t) noexcept;
void operator delete[](void *, std::size_t) noexcept;
void operator delete(void *, std::size_t, std::align_val_t) noexcept;
void operator delete[](void *, std::size_t, std::align_val_t) noexcept;

namespace
{

// So that the compiler does not leave the pair of calls out.
template <typename T> T hide(T value)
{
	__asm__ volatile("" : "+r"(value) : : "memory");
	return value;
}

bool is_aligned(const void *p, std::size_t align)
{
	return reinterpret_cast<std::uintptr_t>(p) % align == 0;
}

void every_form_of_new_and_delete()
{
	for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100},
				 std::size_t{5000}, std::size_t{200000}, std::size_t{9000000}}) {
		void *p[4] = {
			hide(::operator new(size)),
			hide(::operator new[](size)),
			hide(::operator new(size, std::nothrow)),
			hide(::operator new[](size, std::nothrow)),
		};

		for (void *each : p) {
			ok(each != nullptr && is_aligned(each, 16), "%p", each);
			ok(malloc_usable_size(each) >= size, "%zu", malloc_usable_size(each));
			memset(each, 1, size);
		}
		::operator delete(p[0]);
		::operator delete[](p[1]);
		::operator delete(p[2], std::nothrow);
		::operator delete[](p[3], std::nothrow);
		::operator delete(hide(::operator new(size)), size);
		::operator delete[](hide(::operator new[](size)), size);
	}
	::operator delete(nullptr);
	::operator delete[](nullptr);
	::operator delete (nullptr, std::size_t{8});
}

void every_aligned_form()
{
	for (std::size_t align = 1; align <= 65536; align *= 2) {
		const std::align_val_t a{align};
		void *p[4] = {
			hide(::operator new(200, a)),
			hide(::operator new[](200, a)),
			hide(::operator new(200, a, std::nothrow)),
			hide(::operator new[](200, a, std::nothrow)),
		};

		for (void *each : p) {
			ok(each != nullptr && is_aligned(each, align), "%zu: %p", align, each);
			memset(each, 1, 200);
		}
		::operator delete(p[0], a);
		::operator delete[](p[1], a);
		::operator delete(p[2], a, std::nothrow);
		::operator delete[](p[3], a, std::nothrow);
		::operator delete (hide(::operator new(300, a)), std::size_t{300}, a);
		::operator delete[](hide(::operator new[](300, a)), std::size_t{300}, a);
	}
}

const std::size_t too_much = std::size_t{1} << 62;

void no_memory_throws_bad_alloc()
{
	int nr_thrown = 0;

	for (int form = 0; form < 4; form++) {
		try {
			switch (form) {
			case 0:
				hide(::operator new(hide(too_much)));
				break;
			case 1:
				hide(::operator new[](hide(too_much)));
				break;
			case 2:
				hide(::operator new (hide(too_much), std::align_val_t{64}));
				break;
			default:
				hide(new char[hide(too_much)]);
			}
		} catch (const std::bad_alloc &) {
			nr_thrown++;
		}
	}
	ok_eq(nr_thrown, 4);
}

void no_memory_without_throw_is_null()
{
	ok(!hide(::operator new(hide(too_much), std::nothrow)), "not null");
	ok(!hide(::operator new[](hide(too_much), std::nothrow)), "not null");
	ok(!hide(::operator new (hide(too_much), std::align_val_t{64}, std::nothrow)), "not null");
}

int nr_handled;

void handler()
{
	if (++nr_handled == 3)
		std::set_new_handler(nullptr);
}

void the_new_handler_is_called_until_it_gives_up()
{
	bool thrown = false;

	std::set_new_handler(handler);
	try {
		hide(::operator new(hide(too_much)));
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	ok(thrown, "not thrown");
	ok_eq(nr_handled, 3);
}

struct alignas(128) line {
	char bytes[128];
};

void containers_work_in_threads()
{
	auto work = [](unsigned seed) {
		std::map<std::string, std::vector<std::shared_ptr<line>>> map;
		std::size_t count = 0;

		for (unsigned i = 0; i < 5000; i++) {
			auto &list = map["key number " + std::to_string((i * seed) % 97)];

			list.push_back(std::make_shared<line>());
			ok(is_aligned(list.back().get(), 128), "%p", (void *)list.back().get());
			if (list.size() > 20)
				list.erase(list.begin(), list.begin() + 10);
		}
		for (const auto &entry : map)
			count += entry.second.size();
		ok(count > 0 && count <= 5000, "%zu", count);
	};
	std::vector<std::thread> threads;

	for (unsigned i = 0; i < 4; i++)
		threads.emplace_back(work, i + 3);
	for (auto &thread : threads)
		thread.join();
}

struct at_end {
	std::unique_ptr<std::string> text = std::make_unique<std::string>(100, 'x');
	~at_end()
	{
		std::string more = *text + *text;

		ok(more.size() == 200, "%zu", more.size());
	}
};

thread_local at_end last;

void destructors_of_thread_locals_allocate()
{
	for (int i = 0; i < 100; i++)
		std::thread([] { ok(last.text->size() == 100, "size"); }).join();
}

} // namespace

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(every_form_of_new_and_delete);
	RUN(every_aligned_form);
	RUN(no_memory_throws_bad_alloc);
	RUN(no_memory_without_throw_is_null);
	RUN(the_new_handler_is_called_until_it_gives_up);
	RUN(containers_work_in_threads);
	RUN(destructors_of_thread_locals_allocate);
	return done();
}
