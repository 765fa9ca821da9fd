/* What the latency probes share: a clock, and the figures of many latencies as JSON. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECOND 1000000000LL

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest value that at least this share of all does not exceed. */
static double percentile_us(const int64_t *sorted_ns, long count, double share) {
    long rank = (long)ceil(share * count);
    return sorted_ns[rank > 0 ? rank - 1 : 0] / 1e3;
}

/* Sorts in place; a count of 0 prints no figures but n. */
static void print_json(int64_t *latency_ns, long count, long unanswered) {
    printf("{\"n\": %ld, \"unanswered\": %ld", count, unanswered);
    if (count > 0) {
        qsort(latency_ns, count, sizeof *latency_ns, by_size);
        printf(", \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f",
               percentile_us(latency_ns, count, 0.5), percentile_us(latency_ns, count, 0.99),
               percentile_us(latency_ns, count, 0.999), latency_ns[count - 1] / 1e3);
    }
    printf("}\n");
}
