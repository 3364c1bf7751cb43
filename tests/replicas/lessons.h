/* Teaching replicas the model fashion. */
#ifndef SOMA_TESTS_REPLICAS_LESSONS_H
#define SOMA_TESTS_REPLICAS_LESSONS_H

#include "tests/http/server.h"

/* The version that it became; 0: it was refused with 503, for now. */
json_int_t teach(server *soma, int image);
/* The same until it is taken; 0: it is not. */
json_int_t teach_in_time(server *soma, int image);
/* Waits until it has this version. */
void digest_at(server *soma, json_int_t version, char digest[80]);
/* That they have it, and the same then. */
void expect_same_digest(server *one, server *other, json_int_t version);
/* That it predicts, by this version. */
void expect_prediction(server *soma, json_int_t version);

#endif
