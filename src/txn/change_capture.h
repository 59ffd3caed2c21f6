/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys of a keyspace commits touch, noted while a conversion copies it: keys and deleted
 * ranges, in commit order, without values. What a key holds is read when it is copied again.
 */
#ifndef TERN_TXN_CHANGE_CAPTURE_H
#define TERN_TXN_CHANGE_CAPTURE_H

#include "base/budget.h"
#include "engine/engine.h"

/* The applier's, but for what is atomic. */
struct change_capture {
    struct buffer bytes;
    struct budget *budget;
    _Atomic uint64_t size;        /* of `bytes`, for others to look at */
    bool has_failed;              /* out of memory: what was noted is not all */
    _Atomic uint64_t limit_bytes; /* from here on writers are held back */
    _Atomic uint32_t *writers_held;
    bool holds_writers;
};

/* One of them; borrowed bytes. */
struct captured_change {
    bool is_range;
    bool has_end;
    tern_slice key; /* of a range: where it begins, empty: from the first key */
    tern_slice end;
};

/* `writers_held` counts who wants commits to wait a moment before they join the queue. */
void change_capture_init(struct change_capture *capture, const tern_allocator *allocator,
                         struct budget *budget, uint64_t limit_bytes,
                         _Atomic uint32_t *writers_held);
void change_capture_release(struct change_capture *capture);

/* Applier role: notes the changes of one commit. Cannot fail; see has_failed. */
void change_capture_add(struct change_capture *capture, const struct engine_change *changes,
                        size_t count);

/* Applier role: what was noted so far goes to `out`, an empty buffer. Released by
 * change_capture_give_back. TERN_NO_MEMORY when something could not be noted. */
TERN_MUST_CHECK tern_status change_capture_take(struct change_capture *capture, struct buffer *out,
                                                tern_error *error);
void change_capture_give_back(struct change_capture *capture, struct buffer *taken);

/* The next one of `bytes` from *position on, which it moves. False: there is none. */
bool change_capture_next(tern_slice bytes, size_t *position, struct captured_change *out_change);

#endif
