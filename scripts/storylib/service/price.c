#include "price.h"

#include <stdio.h>

#include "version.h"

static unsigned long rebate(unsigned pieces) {
    if (pieces >= 1000) {
        return 20;
    }
    if (pieces >= 100) {
        return 10;
    }
    return 0;
}

unsigned long price(unsigned pieces) {
    unsigned long whole = 250UL * pieces;
    return whole - whole * rebate(pieces) / 100;
}

int home(char *body, unsigned long room) {
    snprintf(body, room, "orders %s", VERSION);
    return 200;
}
