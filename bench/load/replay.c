/* A 9P client that is much cheaper than any server: it replays prepared messages.
 *
 *   replay HOST PORT SECONDS < SCRIPT
 *
 * A script is a preamble and slots, all numbers being 32 bits, little-endian:
 *
 *   count, then so many messages, sent one by one, each when the one before is answered;
 *   slots; for each slot: count, then so many messages, which it sends in turn for ever.
 *
 * A message is as 9P has it, its size in front. All messages of a slot have the number of the slot
 * as their tag, and each slot has one message under way at any time: so many slots, so many
 * requests outstanding. Replies may come in any order. A reply of another type than the request's
 * plus one ends the program with an error.
 *
 * Prints: the messages answered, the seconds, the bytes received.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 7, TYPE = 4, TAG = 5, ROOM = 8 << 20 };

struct slot {
    uint8_t **messages;
    uint32_t count, next;
};

static uint8_t received[ROOM], unsent[ROOM];
static size_t filled, queued;

static void die(const char *what)
{
    fprintf(stderr, "replay: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint32_t number_at(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void from_script(void *into, size_t size)
{
    if (fread(into, 1, size, stdin) != size)
        die("the script is cut off");
}

static uint32_t script_number(void)
{
    uint8_t bytes[4];
    from_script(bytes, sizeof bytes);
    return number_at(bytes);
}

static uint8_t *script_message(void)
{
    uint32_t size = script_number();
    uint8_t *message = malloc(size);
    if (!message || size < HEADER)
        die("a message of the script is too short");
    for (int byte = 0; byte < 4; byte++)
        message[byte] = size >> (8 * byte);
    from_script(message + 4, size - 4);
    return message;
}

static void flush(int server)
{
    for (size_t at = 0; at < queued;) {
        ssize_t sent = send(server, unsent + at, queued - at, MSG_NOSIGNAL);
        if (sent < 0)
            die("send");
        at += sent;
    }
    queued = 0;
}

static void queue(const uint8_t *message)
{
    uint32_t size = number_at(message);
    if (queued + size > ROOM)
        die("too much is outstanding");
    memcpy(unsent + queued, message, size);
    queued += size;
}

static void receive(int server)
{
    ssize_t got = recv(server, received + filled, ROOM - filled, 0);
    if (got < 0)
        die("recv");
    if (got == 0)
        die("the server has closed the connection");
    filled += got;
}

static void check(const uint8_t *request, const uint8_t *reply)
{
    if (reply[TYPE] == request[TYPE] + 1)
        return;
    fprintf(stderr, "replay: type %d was answered with type %d, number %u\n", request[TYPE],
            reply[TYPE], reply[TYPE] == 7 ? number_at(reply + HEADER) : 0);
    exit(1);
}

/* The size of the complete reply at `at`, or 0. */
static uint32_t complete(size_t at)
{
    if (filled - at < HEADER)
        return 0;
    uint32_t size = number_at(received + at);
    if (size < HEADER || size > ROOM)
        die("a reply of an impossible size");
    return size <= filled - at ? size : 0;
}

static void prepare(int server)
{
    for (uint32_t left = script_number(); left; left--) {
        uint8_t *request = script_message();
        queue(request);
        flush(server);
        while (!complete(0))
            receive(server);
        check(request, received);
        filled = 0;
        free(request);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void replay(int server, struct slot *slots, uint32_t count, double seconds)
{
    unsigned long long answered = 0, bytes = 0;
    uint32_t outstanding = count;
    for (uint32_t slot = 0; slot < count; slot++)
        queue(slots[slot].messages[0]);
    double start = now(), elapsed = 0;
    while (elapsed < seconds) {
        flush(server);
        receive(server);
        size_t at = 0;
        for (uint32_t size; (size = complete(at)); at += size) {
            uint32_t tag = received[at + TAG] | received[at + TAG + 1] << 8;
            if (tag >= count)
                die("a reply with an unknown tag");
            struct slot *slot = &slots[tag];
            check(slot->messages[slot->next], received + at);
            slot->next = (slot->next + 1) % slot->count;
            queue(slot->messages[slot->next]);
            answered++;
            bytes += size;
        }
        memmove(received, received + at, filled - at);
        filled -= at;
        elapsed = now() - start;
    }
    for (size_t at = 0; outstanding; at = 0) { /* diod may crash if its client just goes */
        flush(server);
        receive(server);
        for (uint32_t size; (size = complete(at)); at += size)
            outstanding--;
        memmove(received, received + at, filled - at);
        filled -= at;
    }
    printf("%llu %.6f %llu\n", answered, elapsed, bytes);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: replay HOST PORT SECONDS < SCRIPT");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        die("not an address");
    if (connect(server, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    prepare(server);
    uint32_t count = script_number();
    struct slot *slots = calloc(count, sizeof *slots);
    for (uint32_t slot = 0; slot < count; slot++) {
        slots[slot].count = script_number();
        slots[slot].messages = calloc(slots[slot].count, sizeof(uint8_t *));
        for (uint32_t index = 0; index < slots[slot].count; index++)
            slots[slot].messages[index] = script_message();
    }
    replay(server, slots, count, atof(argv[3]));
    return 0;
}
