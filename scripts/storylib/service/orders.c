/* The price of an order over HTTP: GET / says which version answers, GET /price?pieces=N what N pieces cost. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "price.h"
#include "version.h"

static void answer(char *out, size_t room, const char *path) {
    char body[128];
    int status = 200;
    unsigned pieces = 0;
    if (sscanf(path, "/price?pieces=%u", &pieces) == 1)
        snprintf(body, sizeof body, "%lu", price(pieces));
    else if (strcmp(path, "/healthz") == 0)
        snprintf(body, sizeof body, "well");
    else
        status = home(body, sizeof body);
    snprintf(out, room, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n\r\n%s", status, status == 200 ? "OK" : "Failed",
             strlen(body), body);
}

static void *serve(void *given) {
    int peer = (int)(long)given;
    char request[8192], out[512], path[256];
    size_t have = 0;
    for (;;) {
        ssize_t got = read(peer, request + have, sizeof request - 1 - have);
        if (got <= 0) break;
        have += (size_t)got;
        request[have] = 0;
        if (!strstr(request, "\r\n\r\n")) {
            if (have == sizeof request - 1) break;
            continue;
        }
        have = 0;
        if (sscanf(request, "GET %255s", path) != 1) break;
        answer(out, sizeof out, path);
        if (write(peer, out, strlen(out)) < 0) break;
    }
    close(peer);
    return NULL;
}

int main(int count, char **words) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    place.sin_port = htons((unsigned short)atoi(count > 1 ? words[1] : "8000"));
    signal(SIGPIPE, SIG_IGN);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(door, (struct sockaddr *)&place, sizeof place) || listen(door, 512)) {
        perror("orders");
        return 1;
    }
    for (;;) {
        pthread_t thread;
        int peer = accept(door, NULL, NULL);
        if (peer < 0) continue;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (pthread_create(&thread, NULL, serve, (void *)(long)peer))
            close(peer);
        else
            pthread_detach(thread);
    }
}
