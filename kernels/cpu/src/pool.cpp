#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sd {
namespace {

// Roughly 30 microseconds: longer than the gaps between operations of one decoder step.
constexpr int kSpins = 4000;
// Parts per thread: a thread that the system interrupts delays the others by one part at most.
constexpr int kParts = 4;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Bytes that a waiting thread requests between two looks for work, and the most in all.
constexpr int64_t kRequest = 512, kMostAhead = 256 << 10;

// Bytes that the next call will read, as far as waiting threads have not requested them. Only
// hints: one that changes while a thread looks at it makes it request what is of no use.
class Ahead {
 public:
  // From `begin`, `part` bytes at a time: the parts follow each other at distances of `stride`.
  void set(const uint8_t* begin, int64_t part, int64_t stride, int64_t bytes) {
    end_.store(0, std::memory_order_relaxed);
    begin_.store(begin, std::memory_order_relaxed);
    part_.store(max64(part, 1), std::memory_order_relaxed);
    stride_.store(stride, std::memory_order_relaxed);
    at_.store(0, std::memory_order_relaxed);
    end_.store(min64(bytes, kMostAhead), std::memory_order_relaxed);
  }

  // False if there is nothing left.
  bool request() {
    if (at_.load(std::memory_order_relaxed) >= end_.load(std::memory_order_relaxed)) return false;
    const int64_t at = at_.fetch_add(kRequest, std::memory_order_relaxed);
    const int64_t part = part_.load(std::memory_order_relaxed);
    const uint8_t* from = begin_.load(std::memory_order_relaxed) + at % part +
                          at / part * stride_.load(std::memory_order_relaxed);
    for (int64_t i = 0; i < kRequest; i += 64) __builtin_prefetch(from + i, 0, 2);
    return true;
  }

 private:
  std::atomic<const uint8_t*> begin_{nullptr};
  std::atomic<int64_t> part_{1}, stride_{0}, at_{0}, end_{0};
};

thread_local bool inside = false;

// A call ends when its parts are done, whether or not every thread has taken one: a thread that
// the system does not run holds up nobody.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_.store(true);
      offer_.store(next_call());
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }

  void set_ahead(int64_t n, const uint8_t* data, int64_t bytes) {
    const int64_t part = part_of(n, 1), parts = ceil_div(n, part), size = part * bytes;
    front_.set(data, size, size, n * bytes / 2);
    back_.set(data + (parts - 1) * size, size, -size, n * bytes / 2);
  }

  // The calling thread takes parts from the front, the others from the back, so that each finds
  // what it has requested ahead.
  void run(int64_t n, int64_t grain, RangeFunction function, void* context) {
    function_ = function;
    context_ = context;
    n_ = n;
    part_ = part_of(n, grain);
    const uint32_t parts = (uint32_t)ceil_div(n, part_);
    parts_ = parts;
    pending_.store(parts, std::memory_order_relaxed);
    {
      // Without the lock a worker could look for an offer, miss this one and sleep.
      std::lock_guard<std::mutex> lock(mutex_);
      offer_.store(next_call() | parts, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    take_parts(0);
    int spins = 0;
    while (pending_.load(std::memory_order_acquire) > 0) {
      if (++spins < kSpins) {
        if (!front_.request()) pause();
      } else {
        sched_yield();
      }
    }
  }

 private:
  uint64_t next_call() const { return ((offer_.load(std::memory_order_relaxed) >> 32) + 1) << 32; }

  int64_t part_of(int64_t n, int64_t grain) const {
    return max64(max64(grain, 1), n / ((int64_t)threads_ * kParts));
  }

  void take_parts(int thread) {
    inside = true;
    uint64_t offer = offer_.load(std::memory_order_acquire);
    while (left(offer) > 0) {
      // Success means that this call has a part left, so that it cannot end, nor what it is
      // change, before the part is done.
      const uint64_t taken = offer - 1 + (thread ? kFromBack : 0);
      if (!offer_.compare_exchange_weak(offer, taken, std::memory_order_acquire)) continue;
      const uint32_t back = (uint32_t)offer / kFromBack;
      const uint32_t number = thread ? parts_ - 1 - back : parts_ - left(offer) - back;
      const int64_t begin = (int64_t)number * part_;
      function_(context_, begin, min64(begin + part_, n_), thread);
      pending_.fetch_sub(1, std::memory_order_release);
      offer = offer_.load(std::memory_order_acquire);
    }
    inside = false;
  }

  static uint32_t left(uint64_t offer) { return (uint32_t)(offer % kFromBack); }

  bool has_work() const {
    return left(offer_.load(std::memory_order_acquire)) > 0 || stop_.load();
  }

  void work(int thread) {
    for (;;) {
      int spins = 0;
      while (!has_work() && ++spins < kSpins) {
        if (!back_.request()) pause();
      }
      if (!has_work()) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return has_work(); });
        sleeping_.fetch_sub(1);
      }
      if (stop_.load()) return;
      take_parts(thread);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  // Number of the call; below it how many of its parts were taken from the back, and how many
  // nobody has taken, 16 bits each.
  static constexpr uint64_t kFromBack = 1 << 16;
  alignas(64) std::atomic<uint64_t> offer_{0};
  alignas(64) std::atomic<uint32_t> pending_{0};
  RangeFunction function_ = nullptr;
  void* context_ = nullptr;
  int64_t n_ = 0;
  int64_t part_ = 1;
  uint32_t parts_ = 0;
  Ahead front_, back_;
};

// Never destroyed: at exit its threads may already be gone.
std::mutex* guard = new std::mutex;
Pool* pool = nullptr;
int wanted = 0;

int default_threads() {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (const char* text = getenv("OMP_NUM_THREADS")) {
    const int limit = atoi(text);
    if (limit > 0 && limit < count) count = limit;
  }
  return count > 0 ? count : 1;
}

// A forked child has none of the threads; it starts over.
void after_fork() {
  guard = new std::mutex;
  pool = nullptr;
  inside = false;
}

const int registered = pthread_atfork(nullptr, nullptr, after_fork);

}  // namespace

int num_threads() {
  std::lock_guard<std::mutex> lock(*guard);
  if (wanted == 0) wanted = default_threads();
  return wanted;
}

void set_num_threads(int threads) {
  std::lock_guard<std::mutex> lock(*guard);
  wanted = threads;
  if (pool && pool->threads() != threads) {
    delete pool;
    pool = nullptr;
  }
}

void parallel_run(int64_t n, int64_t grain, RangeFunction function, void* context) {
  if (n <= 0) return;
  std::unique_lock<std::mutex> lock(*guard, std::defer_lock);
  if (inside || n <= grain || !lock.try_lock()) return function(context, 0, n, 0);
  if (wanted == 0) wanted = default_threads();
  if (wanted == 1) {
    lock.unlock();
    return function(context, 0, n, 0);
  }
  if (!pool) pool = new Pool(wanted);
  pool->run(n, grain, function, context);
}

void parallel_ahead(int64_t n, const void* data, int64_t bytes) {
  std::unique_lock<std::mutex> lock(*guard, std::defer_lock);
  if (!inside && lock.try_lock() && pool) pool->set_ahead(n, (const uint8_t*)data, bytes);
}

}  // namespace sd
