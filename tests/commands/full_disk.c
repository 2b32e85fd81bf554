// A disk that is full, or cannot be written any more, from a chosen moment on. Loaded before the C library (LD_PRELOAD), it
// counts the calls that write (to files, not to a terminal or pipe, and not to standard output and error), and fails all after
// the first DISK_CALLS of them with the error number DISK_ERROR. At the end it writes their number to DISK_REPORT.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls;
static long most = -1;
static int error_number = ENOSPC;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("DISK_CALLS");
    most = text ? atol(text) : -1;
    text = getenv("DISK_ERROR");
    error_number = text ? atoi(text) : ENOSPC;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("DISK_REPORT");
    long n = __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
    FILE *report = path ? fopen(path, "w") : NULL;
    if (report) {
        fprintf(report, "%ld", n);
        fclose(report);
    }
}

static int fails(void) {
    long n = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    if (most < 0 || n < most) return 0;
    errno = error_number;
    return 1;
}

static int is_file(int fd) {
    struct stat about;
    return fd > 2 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

#define REAL(name)                  \
    static __typeof__(&name) real;  \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(write);
    return is_file(fd) && fails() ? -1 : real(fd, bytes, n);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    REAL(pwrite);
    return is_file(fd) && fails() ? -1 : real(fd, bytes, n, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    REAL(pwrite64);
    return is_file(fd) && fails() ? -1 : real(fd, bytes, n, at);
}
ssize_t writev(int fd, const struct iovec *pieces, int n) {
    REAL(writev);
    return is_file(fd) && fails() ? -1 : real(fd, pieces, n);
}
int fsync(int fd) {
    REAL(fsync);
    return is_file(fd) && fails() ? -1 : real(fd);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return fails() ? -1 : real(from, to);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct stat about;
    return stat(path, &about) != 0 && fails() ? -1 : real(path, mode);
}

#define OPEN(name)                                         \
    int name(const char *path, int flags, ...) {           \
        REAL(name);                                        \
        mode_t mode = 0;                                   \
        if (flags & O_CREAT) {                             \
            va_list rest;                                  \
            va_start(rest, flags);                         \
            mode = va_arg(rest, mode_t);                   \
            va_end(rest);                                  \
            if (fails()) return -1;                        \
        }                                                  \
        return real(path, flags, mode);                    \
    }
OPEN(open)
OPEN(open64)
