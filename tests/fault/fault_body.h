/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a database, under whatever faults its caller has armed: opened, worked on at random,
 * a large value streamed, scanned, cloned, closed; then, healthy again, reopened and compared with
 * what was acknowledged.
 */
#ifndef TERN_TESTS_FAULT_BODY_H
#define TERN_TESTS_FAULT_BODY_H

#include "support/random_workload.h"
#include "support/step_machine.h"

struct fault_body {
    struct step_machine machine;
    struct random_workload work;
    uint64_t seed;
    /* What a failing call may answer while faults are armed. */
    bool (*is_expected)(tern_status status);
    /* Takes the faults away, in the middle and at the end. */
    void (*heal)(void *context);
    void *heal_context;
    bool may_poison;       /* a sync may have failed: writes may be refused afterwards */
    bool has_unknown;      /* some commit's outcome is unknown: nothing later is acknowledged */
    bool has_stream;       /* the streamed value was acknowledged */
    bool may_have_stream;  /* its outcome is unknown */
    uint64_t failed_calls; /* calls that answered with an expected failure */
    char context[128];     /* what is armed, for messages */
};

void fault_body_init(struct fault_body *body, uint64_t seed);
void fault_body_release(struct fault_body *body);

/* Opens, works, closes. Faults are healed before the last steps, which must succeed. */
void fault_body_live(struct fault_body *body);
/* Opens without faults; compares with the model, verifies. */
void fault_body_check(struct fault_body *body);

/* One random piece of work. False once nothing can be written any more. */
bool fault_body_step(struct fault_body *body, tern_db *db, bool must_succeed);
/* Reads everything: a read may fail as expected, but what it gives is what was committed. */
void fault_body_scan(struct fault_body *body, tern_db *db);

/* Which of `total` calls to let fail: all of them with TERN_FAULTS=all, one with its
 * number there, else a sample that visits
 * every part of the run, as many as `seconds` allow. */
struct fault_sample {
    struct seeded_random random;
    uint64_t total;
    uint64_t next;
    uint64_t stride;
    uint64_t deadline_ns;
    uint64_t visited;
};
void fault_sample_begin(struct fault_sample *sample, uint64_t seed, uint64_t total, double seconds);
/* The next call, from 1 on; false at the end. */
bool fault_sample_next(struct fault_sample *sample, uint64_t *out_call);

#endif
