/* Preloaded: reads of one file fail from one offset to another, as those of /proc/kcore do where a
 * page faults. FAILING_PATH ends with the file's name; FAILING_RANGES is "FIRST:END:ERRNO,..." in
 * bytes of the file; errno 0 makes a read end short before the range and fail in it with EIO.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_failing(int fd)
{
	const char *wanted = getenv("FAILING_PATH");
	char link[32], path[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (!wanted || n < (ssize_t)strlen(wanted))
		return 0;
	path[n] = 0;
	return !strcmp(path + n - strlen(wanted), wanted);
}

/* How many bytes may be read at `offset`; -1 with errno set if none. */
static ssize_t allowed(off_t offset, size_t size)
{
	const char *at = getenv("FAILING_RANGES");

	while (at && *at) {
		long long first, end;
		int error;

		if (sscanf(at, "%lli:%lli:%d", &first, &end, &error) != 3)
			abort();
		if (offset < end && (long long)(offset + size) > first) {
			if (error || offset >= first) {
				errno = error ? error : EIO;
				return -1;
			}
			size = first - offset;
		}
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	return size;
}

ssize_t read(int fd, void *buf, size_t size)
{
	ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");

	if (is_failing(fd)) {
		ssize_t n = allowed(lseek(fd, 0, SEEK_CUR), size);
		if (n < 0)
			return -1;
		size = n;
	}
	return real(fd, buf, size);
}

ssize_t pread64(int fd, void *buf, size_t size, off_t offset)
{
	ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread64");

	if (is_failing(fd)) {
		ssize_t n = allowed(offset, size);
		if (n < 0)
			return -1;
		size = n;
	}
	return real(fd, buf, size, offset);
}

ssize_t pread(int fd, void *buf, size_t size, off_t offset)
{
	return pread64(fd, buf, size, offset);
}
