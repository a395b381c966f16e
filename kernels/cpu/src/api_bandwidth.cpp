// How fast memory can be read and copied: the limit that other kernels are measured against.
#include "common.h"
#include "pool.h"

#include <atomic>

using namespace sd;

namespace {

constexpr int64_t kMaxStreams = 16;
constexpr int64_t kLine = 64;
constexpr int64_t kAhead = 2048;

typedef uint64_t Words __attribute__((vector_size(16), aligned(8), may_alias));

// The sum of the words of lines [begin, end), read as `streams` consecutive parts in turns.
uint64_t sum_lines(const char* data, int64_t begin, int64_t end, int64_t streams) {
  Words a = {}, b = {}, c = {}, d = {};
  const auto add = [&](const char* line) {
    const Words* words = (const Words*)line;
    a += words[0];
    b += words[1];
    c += words[2];
    d += words[3];
  };
  const int64_t length = (end - begin) / streams;
  for (int64_t i = begin; i < begin + length; ++i) {
    for (int64_t s = 0; s < streams; ++s) {
      const char* line = data + (s * length + i) * kLine;
      __builtin_prefetch(line + kAhead);
      add(line);
    }
  }
  for (int64_t i = begin + streams * length; i < end; ++i) add(data + i * kLine);
  const Words sum = a + b + c + d;
  return sum[0] + sum[1];
}

}  // namespace

// The sum of the 64-bit words of bytes (a multiple of 64), each thread reading `streams` parts of
// them in turns.
SD_API int sd_read_bandwidth(const void* data, int64_t bytes, int32_t streams, uint64_t* sum) {
  const int64_t parts = min64(max64(streams, 1), kMaxStreams);
  std::atomic<uint64_t> total{0};
  parallel_for(bytes / kLine, 1024, [&](int64_t begin, int64_t end, int) {
    total.fetch_add(sum_lines((const char*)data, begin, end, parts), std::memory_order_relaxed);
  });
  *sum = total.load();
  return 0;
}

SD_API int sd_copy(void* to, const void* from, int64_t bytes) {
  parallel_for(ceil_div(bytes, kLine), 1024, [&](int64_t begin, int64_t end, int) {
    const int64_t first = begin * kLine;
    memcpy((char*)to + first, (const char*)from + first, min64(end * kLine, bytes) - first);
  });
  return 0;
}
