/* A tenant that works along a trace and times its own lateness.
 *
 *   tenant NUMBER START_NS "SECONDS:PERCENT,SECONDS:PERCENT,..."
 *
 * It works its share of each slot of 10 to 30 ms (pseudo-random, seeded by its
 * number), by its own CPU clock, at the begin of the slot; START_NS is on the
 * monotonic clock. A slot is late by how long after its end its work is done; that
 * delays the next. Prints one line for each slot: when the work was done in seconds
 * after the start, CPU time used until then in ns, lateness in ns (-1 where there
 * was nothing to do).
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MOST_STEPS 64
#define SECOND 1000000000LL

struct step {
    double seconds, share;
};

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void sleep_until(int64_t at) {
    struct timespec t = {at / SECOND, at % SECOND};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static double share_at(const struct step *steps, int count, double second) {
    for (int i = 0; i < count; i++) {
        if (second < steps[i].seconds) return steps[i].share;
        second -= steps[i].seconds;
    }
    return 0;
}

static void work_along(int number, int64_t start, const struct step *steps, int count, double total) {
    unsigned seed = 1234 + number;
    int64_t begin = start, used0;
    /* At 10 ms a slot and 64 bytes a line this is enough for 40 minutes. */
    char *lines = malloc(1 << 24), *end = lines;
    prctl(PR_SET_TIMERSLACK, 1);
    sleep_until(start);
    used0 = now(CLOCK_THREAD_CPUTIME_ID);
    while (begin < start + (int64_t)(total * SECOND) && end < lines + (1 << 24) - 128) {
        int64_t length = 10000000 + rand_r(&seed) % 20000000;
        int64_t work = (int64_t)(length * share_at(steps, count, (begin - start) / 1e9));
        int64_t from = now(CLOCK_THREAD_CPUTIME_ID), late = -1;
        if (work > 0) {
            int64_t goal = from + work;
            while (now(CLOCK_THREAD_CPUTIME_ID) < goal)
                for (volatile int i = 0; i < 100; i++) {
                }
            late = now(CLOCK_MONOTONIC) - begin - length;
            if (late < 0) late = 0;
        }
        end += sprintf(end, "%.6f %lld %lld\n", (now(CLOCK_MONOTONIC) - start) / 1e9,
                       (long long)(now(CLOCK_THREAD_CPUTIME_ID) - used0), (long long)late);
        begin += length;
        sleep_until(begin);
    }
    fwrite(lines, 1, end - lines, stdout);
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct step steps[MOST_STEPS];
    int count = 0;
    double total = 0;
    if (argc != 4) {
        fprintf(stderr, "usage: tenant NUMBER START_NS SECONDS:PERCENT,...\n");
        return 2;
    }
    for (char *part = strtok(argv[3], ","); part && count < MOST_STEPS; part = strtok(NULL, ",")) {
        double percent;
        if (sscanf(part, "%lf:%lf", &steps[count].seconds, &percent) != 2) return 2;
        steps[count].share = percent / 100;
        total += steps[count++].seconds;
    }
    prctl(PR_SET_PDEATHSIG, 9);
    work_along(atoi(argv[1]), atoll(argv[2]), steps, count, total);
    return 0;
}
