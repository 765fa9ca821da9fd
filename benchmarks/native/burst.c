/* A tenant that takes memory at full speed and times each MiB of it.
 *
 *   burst MIB
 *
 * Writes into every page of private memory, one MiB after the other. Prints one JSON
 * object: n is the MiB touched; the times of one MiB are in us.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "latency.h"

#define MIB (1 << 20)

int main(int argc, char **argv) {
    long count = argc == 2 ? atol(argv[1]) : 0;
    if (count <= 0) {
        fprintf(stderr, "usage: burst MIB\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, 9);
    char *block = mmap(NULL, count * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int64_t *times = malloc(count * sizeof *times);
    if (block == MAP_FAILED || !times) return 1;
    for (long i = 0; i < count; i++) {
        int64_t begin = now_ns();
        memset(block + i * MIB, (int)(i | 1), MIB);
        times[i] = now_ns() - begin;
    }
    print_json(times, count, 0);
    return 0;
}
