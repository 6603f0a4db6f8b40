/* Runs a command and lets the Nth of its system calls that write fail, be cut short, or be its last.
 *
 *   inject MODE N LOG COMMAND [ARG...]
 *
 * MODE is `kill` (SIGKILL in the place of the call), `torn` (half of what is to be written, then SIGKILL), `EIO` or
 * `ENOSPC` (the call fails once), or `full` (from then on, no call that needs space succeeds). The calls of all threads
 * are counted together, from 1; with N 0, nothing is done but counting. LOG gets a line for each call: its number, name
 * and path. Messages, which go to the handles 0 to 2, do not count.
 *
 * Exit code: the command's; 137 where it was killed; 125 where this program failed.
 *
 * The calls are held by seccomp(2) with SECCOMP_RET_USER_NOTIF: this process is asked about each, and answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What identifies the place of a call: a path, or a handle. */
enum place { PATH, PATH_AT, HANDLE, TARGET, TARGET_AT };

struct call {
    int number;
    const char *name;
    enum place place;
    int at;         /* which argument that is */
    int flags_at;   /* which argument must have a bit of `flags`; -1 for any call */
    uint32_t flags;
    int takes_space;
};

static const struct call calls[] = {
    {SYS_write, "write", HANDLE, 0, -1, 0, 1},
    {SYS_pwrite64, "pwrite64", HANDLE, 0, -1, 0, 1},
    {SYS_writev, "writev", HANDLE, 0, -1, 0, 1},
    {SYS_pwritev, "pwritev", HANDLE, 0, -1, 0, 1},
    {SYS_pwritev2, "pwritev2", HANDLE, 0, -1, 0, 1},
    {SYS_sendfile, "sendfile", HANDLE, 0, -1, 0, 1},
    {SYS_copy_file_range, "copy_file_range", HANDLE, 2, -1, 0, 1},
    {SYS_splice, "splice", HANDLE, 2, -1, 0, 1},
    {SYS_fallocate, "fallocate", HANDLE, 0, -1, 0, 1},
    {SYS_ftruncate, "ftruncate", HANDLE, 0, -1, 0, 1},
    {SYS_fsync, "fsync", HANDLE, 0, -1, 0, 1},
    {SYS_fdatasync, "fdatasync", HANDLE, 0, -1, 0, 1},
    {SYS_sync_file_range, "sync_file_range", HANDLE, 0, -1, 0, 1},
    {SYS_syncfs, "syncfs", HANDLE, 0, -1, 0, 1},
    {SYS_fchmod, "fchmod", HANDLE, 0, -1, 0, 0},
    {SYS_fchown, "fchown", HANDLE, 0, -1, 0, 0},
    {SYS_fchmodat, "fchmodat", PATH_AT, 1, -1, 0, 0},
    {SYS_fchownat, "fchownat", PATH_AT, 1, -1, 0, 0},
    {SYS_utimensat, "utimensat", PATH_AT, 1, -1, 0, 0},
    {SYS_truncate, "truncate", PATH, 0, -1, 0, 1},
    {SYS_setxattr, "setxattr", PATH, 0, -1, 0, 1},
    {SYS_fsetxattr, "fsetxattr", HANDLE, 0, -1, 0, 1},
    {SYS_openat, "openat", PATH_AT, 1, 2, O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY), 1},
    {SYS_mkdirat, "mkdirat", PATH_AT, 1, -1, 0, 1},
    {SYS_unlinkat, "unlinkat", PATH_AT, 1, -1, 0, 0},
    {SYS_renameat2, "renameat2", TARGET_AT, 3, -1, 0, 1},
    {SYS_linkat, "linkat", TARGET_AT, 3, -1, 0, 1},
    {SYS_symlinkat, "symlinkat", PATH_AT, 2, -1, 0, 1},
    {SYS_ioctl, "FICLONE", HANDLE, 0, 1, FICLONE, 1},
    {SYS_ioctl, "FICLONERANGE", HANDLE, 0, 1, FICLONERANGE, 1},
#ifdef SYS_renameat
    {SYS_renameat, "renameat", TARGET_AT, 3, -1, 0, 1},
#endif
#ifdef SYS_open /* not on newer architectures */
    {SYS_open, "open", PATH, 0, 1, O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY), 1},
    {SYS_creat, "creat", PATH, 0, -1, 0, 1},
    {SYS_mkdir, "mkdir", PATH, 0, -1, 0, 1},
    {SYS_rmdir, "rmdir", PATH, 0, -1, 0, 0},
    {SYS_unlink, "unlink", PATH, 0, -1, 0, 0},
    {SYS_rename, "rename", TARGET, 1, -1, 0, 1},
    {SYS_link, "link", TARGET, 1, -1, 0, 1},
    {SYS_symlink, "symlink", PATH, 1, -1, 0, 1},
    {SYS_chmod, "chmod", PATH, 0, -1, 0, 0},
    {SYS_chown, "chown", PATH, 0, -1, 0, 0},
#endif
};
enum { CALLS = sizeof calls / sizeof *calls };

static void die(const char *what) {
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(125);
}

static const struct call *call_of(const struct seccomp_notif *n) {
    for (int i = 0; i < CALLS; i++) {
        const struct call *c = &calls[i];
        if (c->number != n->data.nr) continue;
        if (c->number == SYS_ioctl ? n->data.args[1] == c->flags : c->flags_at < 0 || n->data.args[c->flags_at] & c->flags)
            return c;
    }
    return NULL;
}

/* All of these calls are asked about; which of them count is for the parent to see. */
static int install_filter(void) {
    struct sock_filter code[CALLS + 3];
    int n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, CALLS - i, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("prctl");
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) die("seccomp");
    return listener;
}

/* Handles go through a socket in a control message. */
static void pass(int socket, int *handle, int is_sender) {
    char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (is_sender) {
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), handle, sizeof(int));
        if (sendmsg(socket, &message, 0) != 1) die("sendmsg");
    } else {
        if (recvmsg(socket, &message, 0) != 1) die("recvmsg");
        memcpy(handle, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    }
}

static ssize_t peek(pid_t pid, uint64_t address, void *into, size_t length) {
    struct iovec here = {into, length}, there = {(void *)(uintptr_t)address, length};
    return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static void place_of(const struct call *c, const struct seccomp_notif *n, char *out, size_t size) {
    char link[64];
    memset(out, 0, size);
    if (c->place == HANDLE) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)n->pid, (int)n->data.args[c->at]);
        if (readlink(link, out, size - 1) < 0) snprintf(out, size, "?");
        return;
    }
    /* A string may end right before a page that is not there. */
    for (size_t at = 0; at + 1 < size; at++)
        if (peek(n->pid, n->data.args[c->at] + at, out + at, 1) != 1 || !out[at]) break;
}

/* Writes the first half of what the call would write, through the same open file. */
static void write_half(pid_t pid, const struct seccomp_notif *n) {
    if (n->data.nr != SYS_write && n->data.nr != SYS_pwrite64) return;
    int process = syscall(SYS_pidfd_open, pid, 0);
    int handle = syscall(SYS_pidfd_getfd, process, (int)n->data.args[0], 0);
    size_t half = n->data.args[2] / 2;
    char *bytes = malloc(half + 1);
    if (handle < 0 || !bytes || peek(n->pid, n->data.args[1], bytes, half) != (ssize_t)half) die("torn");
    ssize_t done = n->data.nr == SYS_write ? write(handle, bytes, half) : pwrite(handle, bytes, half, n->data.args[3]);
    if (done != (ssize_t)half) die("torn");
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: inject MODE N LOG COMMAND [ARG...]\n");
        return 125;
    }
    const char *mode = argv[1];
    long wanted = atol(argv[2]), number = 0;
    FILE *log = fopen(argv[3], "we");
    int sockets[2];
    if (!log) die(argv[3]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) die("socketpair");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        int listener = install_filter();
        pass(sockets[1], &listener, 1);
        close(listener);
        execvp(argv[4], &argv[4]);
        die(argv[4]);
    }
    int listener = -1;
    pass(sockets[0], &listener, 0);
    for (;;) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        if (poll(&ready, 1, -1) < 0) die("poll");
        if (!(ready.revents & POLLIN)) break; /* all that had the filter have ended */
        struct seccomp_notif asked = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) {
            if (errno == ENOENT || errno == EINTR) continue;
            die("receive");
        }
        struct seccomp_notif_resp answer = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        const struct call *c = call_of(&asked);
        if (c && !(c->place == HANDLE && asked.data.args[c->at] < 3)) {
            char place[PATH_MAX];
            place_of(c, &asked, place, sizeof place);
            fprintf(log, "%ld %s %s\n", ++number, c->name, place);
            int is_full = !strcmp(mode, "full") && wanted && number >= wanted && c->takes_space;
            if (number == wanted && (!strcmp(mode, "kill") || !strcmp(mode, "torn"))) {
                if (*mode == 't') write_half(child, &asked);
                kill(child, SIGKILL);
                break; /* what other threads ask about is not answered any more */
            }
            int error = is_full ? ENOSPC : number != wanted ? 0 : !strcmp(mode, "EIO") ? EIO : !strcmp(mode, "ENOSPC") ? ENOSPC : 0;
            if (error) answer = (struct seccomp_notif_resp){.id = asked.id, .error = -error};
        }
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT) die("answer");
    }
    int status;
    if (waitpid(child, &status, 0) != child) die("waitpid");
    if (fclose(log)) die("log");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
