/* Prints one line per test: its name, and ok or what was found. */
#include <stdio.h>

#include "price.h"

static int failed;

static void same(const char *name, unsigned long found, unsigned long wanted) {
    if (found == wanted) {
        printf("%s ok\n", name);
    } else {
        failed = 1;
        printf("%s found %lu, wanted %lu\n", name, found, wanted);
    }
}

int main(void) {
    same("one_piece", price(1), 250);
    same("ten_pieces", price(10), 2500);
    return failed;
}
