// The C interface: arguments checked, exceptions kept inside, messages kept for tl_message().
#include <new>
#include <string>
#include <vector>

#include "machine.h"

struct tl_plan {
    thinlens::Plan plan;
};

struct tl_session {
    std::unique_ptr<thinlens::Session> session;
};

namespace {

thread_local std::string last_message;

// Run `body`, which returns a status and may set a message; nothing is thrown past the C interface.
template <class Body>
tl_status guarded(Body body) {
    std::string message;
    tl_status status;
    try {
        status = body(message);
    } catch (const std::bad_alloc &) {
        status = TL_NO_MEMORY, message = "no memory";
    } catch (const std::exception &error) {
        status = TL_NO_MEMORY, message = error.what();
    }
    if (status != TL_OK) last_message = message.empty() ? "a pointer is null, or a number out of range" : message;
    return status;
}

}  // namespace

uint32_t tl_interface(void) { return TL_INTERFACE; }
const char *tl_message(void) { return last_message.c_str(); }
const char *tl_isa_names(void) { return thinlens::isa_names(); }

tl_status tl_plan_load(const void *bytes, size_t size, const char *isa, tl_plan **plan) {
    return guarded([&](std::string &message) {
        if (!bytes || !plan) return TL_BAD_ARGUMENT;
        const thinlens::Kernels *kernels = thinlens::find_kernels(isa);
        if (!kernels) {
            message = std::string("instruction set `") + isa + "` is not built or not on this processor; accepted: " + thinlens::isa_names();
            return TL_UNSUPPORTED_ISA;
        }
        auto loaded = std::make_unique<tl_plan>();
        loaded->plan.kernels = kernels, loaded->plan.isa = kernels->name;  // weights are packed for them
        if (!thinlens::parse_plan(bytes, size, loaded->plan, message)) return TL_BAD_PLAN;
        *plan = loaded.release();
        return TL_OK;
    });
}

void tl_plan_free(tl_plan *plan) { delete plan; }
const char *tl_plan_isa(const tl_plan *plan) { return plan ? plan->plan.isa : ""; }
int64_t tl_plan_bytes(const tl_plan *plan) { return plan ? plan->plan.bytes() : 0; }

tl_status tl_plan_schedule(const tl_plan *plan, const tl_request *request, int threads, tl_schedule *schedule) {
    return guarded([&](std::string &message) {
        if (!plan || !request || !schedule || threads < 1) return TL_BAD_ARGUMENT;
        return thinlens::Session::schedule(plan->plan, *request, threads, *schedule, message);
    });
}

tl_status tl_plan_out_size(const tl_plan *plan, int64_t width, int64_t height, int64_t *out_width, int64_t *out_height) {
    return guarded([&](std::string &message) {
        if (!plan || !out_width || !out_height || width < 1 || height < 1 || width > thinlens::MAX_SIDE || height > thinlens::MAX_SIDE)
            return TL_BAD_ARGUMENT;
        std::vector<thinlens::Size> sizes(plan->plan.values.size());
        if (!thinlens::value_sizes(plan->plan, width, height, sizes.data(), message)) return TL_BAD_SIZE;
        *out_width = sizes.back().width, *out_height = sizes.back().height;
        return TL_OK;
    });
}

tl_status tl_session_open(const tl_plan *plan, const tl_request *request, int threads, tl_session **session) {
    return guarded([&](std::string &message) {
        if (!plan || !request || !session || threads < 1) return TL_BAD_ARGUMENT;
        auto opened = std::make_unique<tl_session>();
        tl_status status = thinlens::Session::open(plan->plan, *request, threads, opened->session, message);
        if (status == TL_OK) *session = opened.release();
        return status;
    });
}

void tl_session_close(tl_session *session) { delete session; }

tl_status tl_session_ready(const tl_session *session, int64_t rows, int flush, int64_t *ready) {
    return guarded([&](std::string &message) {
        if (!session || !ready) return TL_BAD_ARGUMENT;
        return session->session->ready(rows, flush != 0, *ready, message);
    });
}

tl_status tl_session_push(tl_session *session, const void *rows, int64_t stride, int64_t count, void *out, int64_t out_stride,
                          int64_t out_rows, int64_t *produced) {
    return guarded([&](std::string &message) {
        if (!session || !produced || count < 0 || (count > 0 && !rows) || (out_rows > 0 && !out)) return TL_BAD_ARGUMENT;
        return session->session->push(rows, stride, count, out, out_stride, out_rows, *produced, message);
    });
}

tl_status tl_session_flush(tl_session *session, void *out, int64_t out_stride, int64_t out_rows, int64_t *produced) {
    return guarded([&](std::string &message) {
        if (!session || !produced || (out_rows > 0 && !out)) return TL_BAD_ARGUMENT;
        return session->session->flush(out, out_stride, out_rows, *produced, message);
    });
}

int64_t tl_session_state_bytes(const tl_session *session) { return session ? session->session->state_bytes() : 0; }

tl_status tl_session_save(const tl_session *session, void *bytes, size_t size) {
    return guarded([&](std::string &message) {
        if (!session || !bytes || int64_t(size) < session->session->state_bytes()) return TL_BAD_ARGUMENT;
        session->session->save(bytes);
        (void)message;
        return TL_OK;
    });
}

tl_status tl_session_load(tl_session *session, const void *bytes, size_t size) {
    return guarded([&](std::string &message) {
        if (!session || !bytes) return TL_BAD_ARGUMENT;
        return session->session->load(bytes, size, message);
    });
}

tl_status tl_run(const tl_plan *plan, const tl_request *request, const void *image, int64_t stride, void *out, int64_t out_stride,
                 int threads, tl_progress progress, void *user) {
    return guarded([&](std::string &message) {
        if (!plan || !request || !image || !out || threads < 1) return TL_BAD_ARGUMENT;
        return thinlens::run_image(plan->plan, *request, image, stride, out, out_stride, threads, progress, user, message);
    });
}

tl_status tl_run_bytes(const tl_plan *plan, const tl_request *request, int threads, int64_t *bytes) {
    return guarded([&](std::string &message) {
        if (!plan || !request || !bytes || threads < 1) return TL_BAD_ARGUMENT;
        return thinlens::run_bytes(plan->plan, *request, threads, *bytes, message);
    });
}

int64_t tl_allocated(void) { return thinlens::allocated(); }
int64_t tl_allocated_peak(void) { return thinlens::allocated_peak(); }
void tl_allocated_reset(void) { thinlens::allocated_reset(); }
