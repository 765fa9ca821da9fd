/* A tenant that writes a file at full speed and times each write(2).
 *
 *   writer PATH BYTES
 *
 * Writes 1 MiB at a time until it has written that much or is refused. Prints one
 * JSON object: what was written, in how many seconds, errno of the refusal (0: none),
 * and the longest write(2) in ms.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "latency.h"

#define CHUNK (1 << 20)

int main(int argc, char **argv) {
    long long goal = argc == 3 ? atoll(argv[2]) : 0, written = 0;
    int64_t worst = 0, start;
    int fault = 0;
    char *chunk = malloc(CHUNK);
    if (goal <= 0 || !chunk) {
        fprintf(stderr, "usage: writer PATH BYTES\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, 9);
    memset(chunk, 'x', CHUNK);
    int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0) {
        perror(argv[1]);
        return 1;
    }
    start = now_ns();
    while (written < goal && !fault) {
        int64_t begin = now_ns(), took;
        ssize_t n = write(file, chunk, goal - written < CHUNK ? goal - written : CHUNK);
        took = now_ns() - begin;
        if (took > worst) worst = took;
        if (n < 0)
            fault = errno;
        else
            written += n;
    }
    printf("{\"written\": %lld, \"seconds\": %.6f, \"errno\": %d, \"worst_ms\": %.3f}\n", written,
           (now_ns() - start) / 1e9, fault, worst / 1e6);
    close(file);
    return 0;
}
