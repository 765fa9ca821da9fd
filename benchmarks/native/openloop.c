/* Open-loop load on a server that speaks the redis protocol.
 *
 *   openloop PORT RATE SECONDS [SCRIPT]
 *
 * Sends RATE * SECONDS requests with exponential gaps, whether or not the server
 * keeps up, and counts each latency from the instant at which the request was meant
 * to be sent: what waits in any queue, this program's own included, is waiting. The
 * arrivals are the same in each run. A request is a GET, or an EVAL of SCRIPT, which
 * must return a number. Prints one JSON object: the number of requests, how many
 * were never answered (they count as waiting until the end), percentiles and maximum
 * in microseconds. The first requests warm up and are not counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"

#define CONNECTIONS 8
#define WARM_UP_S 0.2
#define LAST_ANSWER_S 3
#define LONGEST_SCRIPT 400

struct connection {
    long answered;
    int in_line;
};

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("openloop: connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* Request k goes over connection k mod CONNECTIONS, and each connection answers in
 * order, so the j-th answer of connection i is that of request i + j * CONNECTIONS.
 * Each answer is one line: nil for a GET of a missing key, a number for a script. */
static int take_answers(int fd, int i, struct connection *connection, const int64_t *due,
                        int64_t *latency_ns, long sent) {
    char bytes[4096];
    ssize_t length = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    int64_t now = now_ns();
    int answers = 0;
    if (length == 0) {
        fprintf(stderr, "openloop: the server hung up\n");
        exit(1);
    }
    for (ssize_t b = 0; b < length; b++) {
        if (bytes[b] == '-' && !connection->in_line) {
            fprintf(stderr, "openloop: the server answers %.*s\n", (int)(length - b), bytes + b);
            exit(1);
        }
        connection->in_line = bytes[b] != '\n';
        if (connection->in_line) continue;
        long k = i + CONNECTIONS * connection->answered++;
        if (k < sent) latency_ns[k] = now - due[k];
        answers++;
    }
    return answers;
}

int main(int argc, char **argv) {
    int port = argc > 3 ? atoi(argv[1]) : 0;
    double rate = argc > 3 ? atof(argv[2]) : 0, seconds = argc > 3 ? atof(argv[3]) : 0;
    if (argc > 5 || port <= 0 || rate <= 0 || seconds <= 0 ||
        (argc == 5 && strlen(argv[4]) > LONGEST_SCRIPT)) {
        fprintf(stderr, "usage: openloop PORT RATE SECONDS [SCRIPT]\n");
        return 2;
    }
    char request[LONGEST_SCRIPT + 100] = "*2\r\n$3\r\nGET\r\n$7\r\nmissing\r\n";
    if (argc == 5)
        sprintf(request, "*3\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n0\r\n", strlen(argv[4]), argv[4]);
    size_t length = strlen(request);
    prctl(PR_SET_PDEATHSIG, 9);
    prctl(PR_SET_TIMERSLACK, 1);

    struct pollfd polled[CONNECTIONS];
    struct connection connections[CONNECTIONS] = {{0}};
    for (int i = 0; i < CONNECTIONS; i++)
        polled[i] = (struct pollfd){.fd = connect_to(port), .events = POLLIN};

    long warm_up = (long)(rate * WARM_UP_S), count = warm_up + (long)(rate * seconds);
    int64_t *due = malloc(count * sizeof *due), *latency_ns = malloc(count * sizeof *due);
    double at_s = 0;
    srand48(42);
    int64_t start = now_ns() + SECOND / 10;
    for (long k = 0; k < count; k++) {
        at_s += -log(1 - drand48()) / rate;
        due[k] = start + (int64_t)(at_s * SECOND);
        latency_ns[k] = -1;
    }
    long sent = 0, answered = 0;
    int64_t until = due[count - 1] + LAST_ANSWER_S * SECOND, now = now_ns();
    while (answered < count && now < until) {
        for (; sent < count && due[sent] <= now; sent++)
            if (write(polled[sent % CONNECTIONS].fd, request, length) != (ssize_t)length) {
                perror("openloop: write");
                return 1;
            }
        int64_t wait = (sent < count ? due[sent] : until) - now_ns();
        if (wait < 0) wait = 0;
        struct timespec t = {wait / SECOND, wait % SECOND};
        if (ppoll(polled, CONNECTIONS, &t, NULL) > 0)
            for (int i = 0; i < CONNECTIONS; i++)
                if (polled[i].revents)
                    answered += take_answers(polled[i].fd, i, &connections[i], due, latency_ns, sent);
        now = now_ns();
    }
    long unanswered = 0;
    for (long k = warm_up; k < count; k++)
        if (latency_ns[k] < 0) {
            latency_ns[k] = now - due[k];
            unanswered++;
        }
    print_json(latency_ns + warm_up, count - warm_up, unanswered);
    return 0;
}
