/* How late the kernel wakes a thread that has slept.
 *
 *   wake THREADS SECONDS
 *
 * Each thread, bound to no CPU, sleeps a random 0.5 to 1.5 ms until a given instant,
 * again and again; its latency is the time from that instant until it runs. Prints
 * one JSON object: the number of sleeps, percentiles and maximum in microseconds.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>

#include "latency.h"

#define SHORTEST_NS 500000LL
#define RANGE_NS 1000000LL

struct sleeper {
    pthread_t thread;
    unsigned seed;
    int64_t end, *latency_ns;
    long count, room;
};

static void *sleep_and_wake(void *argument) {
    struct sleeper *self = argument;
    int64_t now = now_ns();
    /* The slack is a thread's own: else the kernel may wake it 50 us late by intent. */
    prctl(PR_SET_TIMERSLACK, 1);
    while (now < self->end && self->count < self->room) {
        int64_t due = now + SHORTEST_NS + rand_r(&self->seed) % RANGE_NS;
        struct timespec t = {due / SECOND, due % SECOND};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        now = now_ns();
        self->latency_ns[self->count++] = now - due;
    }
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc == 3 ? atoi(argv[1]) : 0;
    double seconds = argc == 3 ? atof(argv[2]) : 0;
    if (threads < 1 || seconds <= 0) {
        fprintf(stderr, "usage: wake THREADS SECONDS\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, 9);
    /* No thread can sleep more often than the shortest sleep fits. */
    long room = (long)(seconds * SECOND / SHORTEST_NS) + 1, total = 0;
    struct sleeper *sleepers = calloc(threads, sizeof *sleepers);
    int64_t *all = malloc(threads * room * sizeof *all);
    int64_t end = now_ns() + (int64_t)(seconds * SECOND);
    for (int i = 0; i < threads; i++) {
        struct sleeper *one = &sleepers[i];
        one->seed = 77 + i;
        one->end = end;
        one->room = room;
        /* Touched now, so that no page fault is taken for a late wake-up. */
        one->latency_ns = memset(malloc(room * sizeof *all), 1, room * sizeof *all);
        if (pthread_create(&one->thread, NULL, sleep_and_wake, one) != 0) return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(sleepers[i].thread, NULL);
        memcpy(all + total, sleepers[i].latency_ns, sleepers[i].count * sizeof *all);
        total += sleepers[i].count;
    }
    print_json(all, total, 0);
    return 0;
}
