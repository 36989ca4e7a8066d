/* thinlens.h: the row machine's C interface.
 *
 * A plan (a network as a flat binary, see docs/engine.md) is loaded and validated once; nothing in it is trusted. A session
 * runs it row by row: rows of interleaved pixels go in, rows come out, in memory that grows with the width only. The same
 * rows come out, bit for bit, however the input is cut into pushes, however many threads work, and on every instruction set.
 *
 * All functions return a status; tl_message() then says in words what was found and what is accepted. Handles may be used
 * from one thread at a time; a plan may serve many sessions at once.
 */
#ifndef THINLENS_H
#define THINLENS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TL_API __declspec(dllexport)
#else
#define TL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define TL_INTERFACE 2

typedef enum tl_status {
    TL_OK = 0,
    TL_BAD_ARGUMENT = 1,   /* a null pointer, a size below 1, an output that is too small */
    TL_BAD_PLAN = 2,       /* the plan's bytes do not hold together */
    TL_BAD_SIZE = 3,       /* the plan cannot take an image of this size */
    TL_NEEDS_HEIGHT = 4,   /* an op needs the image's height before its first row */
    TL_NO_MEMORY = 5,
    TL_NOT_A_NUMBER = 6,   /* the network's result is not a number */
    TL_BAD_STATE = 7,      /* saved bytes do not belong to this session */
    TL_CANCELLED = 8,      /* the progress callback said so */
    TL_UNSUPPORTED_ISA = 9 /* unknown here, or not on this processor */
} tl_status;

typedef struct tl_plan tl_plan;
typedef struct tl_session tl_session;

/* What to run: an image of width x height. height 0: not known before flush. Output rows [first_row, stop_row) are made; stop_row 0: all. */
typedef struct tl_request {
    int64_t width, height;
    int64_t first_row, stop_row;
} tl_request;

/* What follows from plan and request before any pixel moves. Rows of the input unless it says otherwise. */
typedef struct tl_schedule {
    int64_t out_width, out_height;   /* out_height 0: not known */
    int64_t out_channels;            /* interleaved */
    int64_t in_first, in_stop;       /* the input rows that must be pushed; in_stop 0: not known */
    int64_t halo_above, halo_below;  /* farthest rows above and below its own that an output row depends on; -1: the whole image, or (above) all rows */
    int64_t latency_rows;            /* rows pushed beyond an output row's own before that row comes out */
    int64_t buffer_bytes;            /* everything that a session allocates */
    int64_t whole_image_node;        /* a node that needs the whole image before its first row; -1: none, the plan streams */
} tl_schedule;

/* Called with output rows done and in all, from the thread that called tl_run; anything but 0 cancels. */
typedef int (*tl_progress)(int64_t done, int64_t total, void *user);

TL_API uint32_t tl_interface(void);            /* TL_INTERFACE of the library */
TL_API const char *tl_message(void);           /* of the last error in this thread */
TL_API const char *tl_isa_names(void);         /* built and supported here, best first: "avx512 avx2 scalar" */

/* isa: a name from tl_isa_names(), or NULL for the best. The bytes are copied. */
TL_API tl_status tl_plan_load(const void *bytes, size_t size, const char *isa, tl_plan **plan);
TL_API void tl_plan_free(tl_plan *plan);
TL_API const char *tl_plan_isa(const tl_plan *plan);
TL_API int64_t tl_plan_bytes(const tl_plan *plan);                   /* weights, packed */
TL_API tl_status tl_plan_schedule(const tl_plan *plan, const tl_request *request, int threads, tl_schedule *schedule);
/* Output size for an input size; TL_BAD_SIZE where there is none. */
TL_API tl_status tl_plan_out_size(const tl_plan *plan, int64_t width, int64_t height, int64_t *out_width, int64_t *out_height);

/* threads: that share the large convolutions of each row; they wait for the next push, for a while by looking. */
TL_API tl_status tl_session_open(const tl_plan *plan, const tl_request *request, int threads, tl_session **session);
TL_API void tl_session_close(tl_session *session);
/* Output rows that pushing `rows` more rows (or, with flush != 0, pushing them and ending the image) gives. */
TL_API tl_status tl_session_ready(const tl_session *session, int64_t rows, int flush, int64_t *ready);
/* Push rows. stride and out_stride are bytes from row to row. out must take what tl_session_ready says; produced tells how many came. */
TL_API tl_status tl_session_push(tl_session *session, const void *rows, int64_t stride, int64_t count, void *out,
                                 int64_t out_stride, int64_t out_rows, int64_t *produced);
/* The image ends here. */
TL_API tl_status tl_session_flush(tl_session *session, void *out, int64_t out_stride, int64_t out_rows, int64_t *produced);
/* Everything between two pushes, as bytes that another session of the same plan and request can load. */
TL_API int64_t tl_session_state_bytes(const tl_session *session);
TL_API tl_status tl_session_save(const tl_session *session, void *bytes, size_t size);
TL_API tl_status tl_session_load(tl_session *session, const void *bytes, size_t size);

/* A whole image at once: rows [first_row, stop_row) of the result go to out. Split over threads; each takes a session's bytes. */
TL_API tl_status tl_run(const tl_plan *plan, const tl_request *request, const void *image, int64_t stride, void *out,
                        int64_t out_stride, int threads, tl_progress progress, void *user);
/* Bytes that tl_run allocates with that many threads. */
TL_API tl_status tl_run_bytes(const tl_plan *plan, const tl_request *request, int threads, int64_t *bytes);

/* Bytes that sessions hold now, and the most they held since the last reset: what tests compare with the schedule. */
TL_API int64_t tl_allocated(void);
TL_API int64_t tl_allocated_peak(void);
TL_API void tl_allocated_reset(void);

#ifdef __cplusplus
}
#endif
#endif
