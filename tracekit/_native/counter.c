/* Reads clocks between two readings of the CPU's own counter, which runs on through a kexec. */
#include "native.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>
/* As rdtsc_ordered() in arch/x86/include/asm/tsc.h, which the trace clock x86-tsc reads: neither
 * earlier nor later instructions are reordered across the read.
 */
static uint64_t counter(void)
{
	_mm_lfence();
	uint64_t now = __rdtsc();
	_mm_lfence();
	return now;
}
#elif defined(__aarch64__)
static uint64_t counter(void)
{
	uint64_t now;
	__asm__ volatile("isb; mrs %0, cntvct_el0; isb" : "=r"(now) : : "memory");
	return now;
}
#else
#define NO_COUNTER
static uint64_t counter(void) { return 0; }
#endif

static int have_counter(void)
{
#ifdef NO_COUNTER
	PyErr_SetString(PyExc_NotImplementedError, "no counter is known on this architecture");
	return 0;
#else
	return 1;
#endif
}

/* One clock, `tries` times: the narrowest bracket. */
static PyObject *native_counter_sample(PyObject *self, PyObject *args)
{
	int clock, tries;
	uint64_t best_before = 0, best_after = UINT64_MAX;
	struct timespec best = {0, 0};

	(void)self;
	if (!PyArg_ParseTuple(args, "ii", &clock, &tries) || !have_counter())
		return NULL;
	for (int i = 0; i < tries; i++) {
		struct timespec now;
		uint64_t before = counter();
		int failed = clock_gettime(clock, &now);
		uint64_t after = counter();

		if (failed)
			return PyErr_SetFromErrno(PyExc_OSError);
		if (after - before < best_after - best_before) {
			best_before = before;
			best_after = after;
			best = now;
		}
	}
	return Py_BuildValue("KKK", (unsigned long long)best_before,
			     (unsigned long long)best.tv_sec * 1000000000ULL + best.tv_nsec,
			     (unsigned long long)best_after);
}

/* One write(2) between two readings of the counter. */
static PyObject *native_counter_write(PyObject *self, PyObject *args)
{
	int fd;
	Py_buffer data;

	(void)self;
	if (!PyArg_ParseTuple(args, "iy*", &fd, &data))
		return NULL;
	if (!have_counter()) {
		PyBuffer_Release(&data);
		return NULL;
	}
	uint64_t before = counter();
	ssize_t written = write(fd, data.buf, data.len);
	uint64_t after = counter();
	PyBuffer_Release(&data);
	if (written < 0)
		return PyErr_SetFromErrno(PyExc_OSError);
	return Py_BuildValue("KK", (unsigned long long)before, (unsigned long long)after);
}

NATIVE_MODULE(counter, "The CPU's own counter.",
	      {"counter_sample", native_counter_sample, METH_VARARGS,
	       "counter_sample(clock, tries) -> (before, ns, after)"},
	      {"counter_write", native_counter_write, METH_VARARGS,
	       "counter_write(fd, data) -> (before, after)"})
