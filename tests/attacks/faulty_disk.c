/* A disk that fails on demand: preloaded, it stands between a process and every call that changes a file.
 *
 * Counts the calls that touch files under one folder, and from the one it is told to lets them fail: once, or for good,
 * as a full or dying disk does, and as a kill looks to the files. A torn write puts down half of what was given first.
 * Sectors are whole, as disks promise: nothing of up to 512 bytes is torn.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length;
static long count, at;
static int error_number, for_good, torn;

void disk_watch(const char *path) { length = (size_t)snprintf(folder, sizeof folder, "%s/", path); }
void disk_fail(long from, int number, int always, int half) {
    count = 0, at = from, error_number = number, for_good = always, torn = half;
}
long disk_count(void) { return count; }

static int ours(const char *path) { return length && path && !strncmp(path, folder, length); }
static int ours_open(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!strncmp(path, folder, length - 1) && !path[length - 1]) return length > 0; /* the folder itself */
    return ours(path);
}
static int fails(int is_ours) {
    if (!is_ours) return 0;
    count++;
    if (!at || (for_good ? count < at : count != at)) return 0;
    errno = error_number;
    return 1;
}
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static size_t half(size_t size) { return torn && size > 512 ? size / 2 : 0; }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (fails(ours_open(fd))) {
        if (half(size)) (void)!real(fd, data, half(size));
        errno = error_number;
        return -1;
    }
    return real(fd, data, size);
}
#define POSITIONED(name, offset_type)                                                \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {        \
        REAL(name);                                                                  \
        if (fails(ours_open(fd))) {                                                  \
            if (half(size)) (void)!real(fd, data, half(size), offset);               \
            errno = error_number;                                                    \
            return -1;                                                               \
        }                                                                            \
        return real(fd, data, size, offset);                                         \
    }
POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)

#define ON_OPEN_FILE(name, parameters, arguments) \
    int name parameters {                         \
        REAL(name);                               \
        return fails(ours_open(fd)) ? -1 : real arguments; \
    }
ON_OPEN_FILE(fsync, (int fd), (fd))
ON_OPEN_FILE(fdatasync, (int fd), (fd))
ON_OPEN_FILE(ftruncate, (int fd, off_t size), (fd, size))
ON_OPEN_FILE(ftruncate64, (int fd, off64_t size), (fd, size))
ON_OPEN_FILE(fchmod, (int fd, mode_t mode), (fd, mode))
ON_OPEN_FILE(posix_fallocate, (int fd, off_t from, off_t size), (fd, from, size))

#define ON_PATH(name, parameters, arguments) \
    int name parameters {                    \
        REAL(name);                          \
        return fails(ours(path)) ? -1 : real arguments; \
    }
ON_PATH(chmod, (const char *path, mode_t mode), (path, mode))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rename, (const char *path, const char *fresh), (path, fresh))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))

#define OPENING(name, parameters, arguments)                  \
    int name parameters {                                     \
        mode_t mode = 0;                                      \
        if (flags & O_CREAT) {                                \
            va_list rest;                                     \
            va_start(rest, flags);                            \
            mode = va_arg(rest, mode_t);                      \
            va_end(rest);                                     \
        }                                                     \
        REAL(name);                                           \
        if ((flags & (O_CREAT | O_TRUNC)) && fails(ours(path))) return -1; \
        return real arguments;                                \
    }
OPENING(open, (const char *path, int flags, ...), (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENING(openat, (int at_fd, const char *path, int flags, ...), (at_fd, path, flags, mode))
OPENING(openat64, (int at_fd, const char *path, int flags, ...), (at_fd, path, flags, mode))
