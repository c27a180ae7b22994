/* What an order costs, in cents. */
unsigned long price(unsigned pieces);

/* What the first page says; the status of the answer. */
int home(char *body, unsigned long room);
