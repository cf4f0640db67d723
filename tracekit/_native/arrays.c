/* tracekit._native.arrays: memory of numpy's arrays that is in a file where there is much of it.
 *
 * What is derived from many millions of events is made of dozens of arrays as long. numpy asks
 * whoever is set by PyDataMem_SetHandler() for an array's memory (NEP 49); here that is mapped from
 * a file without a name, once those in memory hold so much. Its pages are not the process's own:
 * the kernel writes them out where memory is short, and release() takes them off the process.
 */
#define _GNU_SOURCE
#include "native.h"
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KEPT ((size_t)1 << 30)	  /* bytes of the file that may be nobody's */
#define MAPPED ((size_t)96 << 20) /* bytes of files that are let go of when there are more */
#define PAUSE 2000000		  /* ns; in it a pass over arrays may map 100 MB */

/* numpy/_core/include/numpy/ndarraytypes.h, which is no part of what this is built with. */
struct handler {
	char name[127];
	uint8_t version;
	void *ctx;
	void *(*malloc)(void *, size_t);
	void *(*calloc)(void *, size_t, size_t);
	void *(*realloc)(void *, void *, size_t);
	void (*free)(void *, void *, size_t);
};
#define SET_HANDLER 304 /* PyDataMem_SetHandler's place in numpy's table of functions */

struct block {
	void *at;
	size_t size;
	off_t place; /* in the file, -1: in memory */
	int spare;   /* nobody's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks; /* those that are not small */
static size_t used, room;
static size_t held, most; /* bytes in memory, and how many may be */
static size_t small;	  /* bytes of an array that is not worth a place in the file */
static size_t kept;	  /* bytes of the file that are nobody's */
static int file = -1, no_room;
static off_t end;
static int watched;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;

/* What one begin() was given: other mappings of files, which stay as long as their buffers do. */
struct given {
	struct given *next;
	Py_ssize_t count;
	Py_buffer *mappings;
};
static struct given *users;

/* A place in the list, before there is something to put in it. */
static int has_place(void)
{
	if (used == room) {
		size_t more = room ? 2 * room : 64;
		struct block *bigger = realloc(blocks, more * sizeof(*blocks));

		if (!bigger)
			return 0;
		blocks = bigger;
		room = more;
	}
	return 1;
}

static off_t in_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (off_t)((size + page - 1) / page * page);
}

static void *of_file(size_t size, off_t *place)
{
	int error = posix_fallocate(file, end, in_pages(size));

	if (error) { /* writing to a mapping cannot fail politely */
		no_room = error;
		return NULL;
	}
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, end);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size, MADV_NOHUGEPAGE); /* a page that is touched has not 2 MiB mapped */
	*place = end;
	end += in_pages(size);
	return at;
}

/* A place in the file that an array has left; one far too large is left alone. */
static struct block *left(size_t size)
{
	struct block *best = NULL;

	for (size_t i = 0; i < used; i++) {
		struct block *b = &blocks[i];

		if (b->spare && b->size >= size && b->size / 2 <= size &&
		    (!best || b->size < best->size))
			best = b;
	}
	return best;
}

static void *allocate(size_t size, int zero)
{
	struct block made = {.size = size, .place = -1}, *again = NULL;

	if (size < small)
		return zero ? calloc(1, size ? size : 1) : malloc(size ? size : 1);
	pthread_mutex_lock(&lock);
	int in_file = held + size > most;
	if (in_file && (again = left(size))) {
		again->spare = 0;
		kept -= again->size;
		made.at = again->at;
	} else if (has_place()) {
		if (in_file)
			made.at = of_file(size, &made.place);
		else
			made.at = zero ? calloc(1, size) : malloc(size);
		if (made.at) {
			held += in_file ? 0 : size;
			blocks[used++] = made;
		}
	}
	pthread_mutex_unlock(&lock);
	if (again && zero)
		memset(made.at, 0, size);
	return made.at;
}

static struct block *find(const void *at)
{
	for (size_t i = used; i--;)
		if (blocks[i].at == at && !blocks[i].spare)
			return &blocks[i];
	return NULL;
}

static void forget(struct block *b)
{
	if (b->place < 0) {
		free(b->at);
		held -= b->size;
	} else if (kept + b->size <= KEPT) { /* its pages are there already for the next one */
		b->spare = 1;
		kept += b->size;
		return;
	} else {
		munmap(b->at, b->size);
		/* the disk has it back; where that cannot be, when the process ends */
		(void)fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->place,
				in_pages(b->size));
	}
	*b = blocks[--used];
}

static void *numpy_malloc(void *ctx, size_t size)
{
	(void)ctx;
	return allocate(size, 0);
}

static void *numpy_calloc(void *ctx, size_t count, size_t size)
{
	size_t bytes;

	(void)ctx;
	return __builtin_mul_overflow(count, size, &bytes) ? NULL : allocate(bytes, 1);
}

static void numpy_free(void *ctx, void *at, size_t size)
{
	(void)ctx;
	(void)size; /* a reshaped array may say another one */
	pthread_mutex_lock(&lock);
	struct block *b = at ? find(at) : NULL;
	if (b)
		forget(b);
	else
		free(at);
	pthread_mutex_unlock(&lock);
}

static void *numpy_realloc(void *ctx, void *at, size_t size)
{
	pthread_mutex_lock(&lock);
	struct block *b = at ? find(at) : NULL;
	size_t before = b ? b->size : at ? malloc_usable_size(at) : 0;
	pthread_mutex_unlock(&lock);
	if (!b && size < small)
		return realloc(at, size ? size : 1);
	void *made = allocate(size, 0);
	if (made && at) {
		memcpy(made, at, before < size ? before : size);
		numpy_free(ctx, at, 0);
	}
	return made;
}

static struct handler ours = {
	"tracekit", 1, NULL, numpy_malloc, numpy_calloc, numpy_realloc, numpy_free,
};

/* numpy's PyDataMem_SetHandler(), found as its own import_array() finds it. */
static PyObject *(*set_handler(void))(PyObject *)
{
	PyObject *module = PyImport_ImportModule("numpy._core._multiarray_umath");
	PyObject *(*found)(PyObject *) = NULL;

	if (!module) {
		PyErr_Clear();
		module = PyImport_ImportModule("numpy.core._multiarray_umath");
	}
	PyObject *table = module ? PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
	void **functions = table ? PyCapsule_GetPointer(table, NULL) : NULL;
	if (functions)
		memcpy(&found, &functions[SET_HANDLER], sizeof(found));
	Py_XDECREF(table);
	Py_XDECREF(module);
	return found;
}

static void let_go(void)
{
	for (size_t i = 0; i < used; i++)
		if (blocks[i].place >= 0)
			madvise(blocks[i].at, blocks[i].size, MADV_DONTNEED);
	for (struct given *g = users; g; g = g->next)
		for (Py_ssize_t i = 0; i < g->count; i++)
			madvise(g->mappings[i].buf, (size_t)g->mappings[i].len, MADV_DONTNEED);
}

/* Bytes of files that are mapped and resident; proc_pid_statm(5). */
static size_t resident(int statm)
{
	char text[128];
	unsigned long long pages = 0;
	ssize_t size = pread(statm, text, sizeof(text) - 1, 0);

	if (size > 0) {
		text[size] = 0;
		sscanf(text, "%*u %*u %llu", &pages);
	}
	return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Lets go of all these pages now and then. A thread of Python's would wait for the interpreter,
 * which numpy may hold for as long as a gigabyte takes.
 */
static void *watch(void *none)
{
	struct timespec pause = {.tv_nsec = PAUSE};
	int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	(void)none;
	for (pthread_mutex_lock(&lock);; pthread_mutex_lock(&lock)) {
		while (!users)
			pthread_cond_wait(&begun, &lock);
		if (statm < 0 || resident(statm) > MAPPED)
			let_go();
		pthread_mutex_unlock(&lock);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

#define GIVEN "tracekit._native.arrays.given"

static void forget_given(PyObject *capsule)
{
	struct given *mine = PyCapsule_GetPointer(capsule, GIVEN);

	pthread_mutex_lock(&lock);
	for (struct given **g = &users; *g; g = &(*g)->next)
		if (*g == mine) {
			*g = mine->next;
			break;
		}
	pthread_mutex_unlock(&lock);
	for (Py_ssize_t i = 0; i < mine->count; i++)
		PyBuffer_Release(&mine->mappings[i]);
	free(mine->mappings);
	free(mine);
}

/* The buffers of a list of mappings; they are known to the thread once it is told. */
static PyObject *take_given(PyObject *list)
{
	Py_ssize_t count = PyList_Size(list);
	struct given *mine = calloc(1, sizeof(*mine));

	if (mine)
		mine->mappings = calloc((size_t)count + 1, sizeof(Py_buffer));
	PyObject *capsule =
		mine && mine->mappings ? PyCapsule_New(mine, GIVEN, forget_given) : NULL;
	if (!capsule) {
		free(mine ? mine->mappings : NULL);
		free(mine);
		return PyErr_Occurred() ? NULL : PyErr_NoMemory();
	}
	for (; mine->count < count; mine->count++)
		if (PyObject_GetBuffer(PyList_GetItem(list, mine->count),
				       &mine->mappings[mine->count], PyBUF_SIMPLE)) {
			Py_DECREF(capsule);
			return NULL;
		}
	return capsule;
}

static void start(PyObject *capsule, int fd, Py_ssize_t bytes, Py_ssize_t least)
{
	struct given *mine = PyCapsule_GetPointer(capsule, GIVEN);

	pthread_mutex_lock(&lock);
	if (file < 0)
		file = fd; /* for good: arrays may outlive whoever asked for them */
	most = (size_t)bytes;
	small = (size_t)least;
	no_room = 0;
	mine->next = users;
	users = mine;
	if (!watched) /* without a thread, release() is all that lets go of them */
		watched = !pthread_create(&(pthread_t){0}, NULL, watch, NULL);
	pthread_cond_signal(&begun);
	pthread_mutex_unlock(&lock);
}

static PyObject *begin(PyObject *self, PyObject *args)
{
	int fd;
	Py_ssize_t bytes, least;
	PyObject *(*set)(PyObject *), *mappings, *given;

	(void)self;
	if (!PyArg_ParseTuple(args, "innO!", &fd, &bytes, &least, &PyList_Type, &mappings) ||
	    !(set = set_handler()) || !(given = take_given(mappings)))
		return NULL;
	start(given, fd, bytes, least);
	PyObject *handler = PyCapsule_New(&ours, "mem_handler", NULL);
	PyObject *earlier = handler ? set(handler) : NULL;
	Py_XDECREF(handler);
	if (!earlier) {
		Py_DECREF(given);
		return NULL;
	}
	return Py_BuildValue("(NN)", earlier, given);
}

static PyObject *restore(PyObject *self, PyObject *earlier)
{
	PyObject *(*set)(PyObject *) = set_handler(), *handler, *given;

	(void)self;
	if (!set || !PyArg_ParseTuple(earlier, "OO", &handler, &given))
		return NULL;
	PyObject *mine = set(handler);
	if (!mine)
		return NULL;
	Py_DECREF(mine);
	Py_RETURN_NONE;
}

static PyObject *failed(PyObject *self, PyObject *none)
{
	(void)self;
	(void)none;
	return PyLong_FromLong(no_room);
}

static PyObject *release(PyObject *self, PyObject *none)
{
	(void)self;
	(void)none;
	Py_BEGIN_ALLOW_THREADS;
	pthread_mutex_lock(&lock);
	let_go();
	pthread_mutex_unlock(&lock);
	Py_END_ALLOW_THREADS;
	Py_RETURN_NONE;
}

NATIVE_MODULE(arrays, "Memory of numpy's arrays that is in a file where there is much of it.",
	      {"begin", begin, METH_VARARGS,
	       "begin(fd, held, small, mappings) -> what restore() is given"},
	      {"restore", restore, METH_O, "restore(earlier): arrays are made as before begin()"},
	      {"failed", failed, METH_NOARGS, "failed() -> errno of a file without room, or 0"},
	      {"release", release, METH_NOARGS, "release(): let go of what lies in the file"})
