// Threads of our own: torch's OpenMP runtime spins on every core while it waits, and a second
// OpenMP runtime in the process would double that.
#pragma once

#include <stdint.h>

#include <type_traits>

#include "common.h"

namespace sd {

typedef void (*RangeFunction)(void* context, int64_t begin, int64_t end, int thread);

// Calls `function` on consecutive parts of [0, n), none shorter than `grain` but the last. Parts
// go to whichever thread is free. Runs in the caller alone if there is one thread, n <= grain, the
// caller is itself such a thread, or another caller holds the pool.
void parallel_run(int64_t n, int64_t grain, RangeFunction function, void* context);

// A hint: a call with n items, of which item i reads bytes from data + i * bytes, will come after
// the next one. Threads that wait request from memory what they will read first.
void parallel_ahead(int64_t n, const void* data, int64_t bytes);

void set_num_threads(int threads);
int num_threads();

// f(begin, end, thread), thread in [0, num_threads()); may be called several times per thread.
template <typename F>
SD_INLINE void parallel_for(int64_t n, int64_t grain, F&& f) {
  struct Call {
    static void run(void* context, int64_t begin, int64_t end, int thread) {
      (*static_cast<typename std::remove_reference<F>::type*>(context))(begin, end, thread);
    }
  };
  parallel_run(n, grain, &Call::run, (void*)&f);
}

}  // namespace sd
