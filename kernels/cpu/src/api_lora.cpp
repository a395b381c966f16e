// C interface of low-rank adapters.
#include "lora.h"
#include "pool.h"
#include "scratch.h"

using namespace sd;

namespace {

thread_local Scratch scratch;

}  // namespace

// Adds the adapters' part of one layer to y [rows, n]. x [rows, k] and y are of `dtype`, their row
// strides in elements; the page tables have `ranks` rows, the pool `pages` pages. 0, 1 for no
// memory, 2 for wrong numbers.
SD_API int sd_lora_sgmv(const LoraSegments* segments, const LoraTarget* target, int64_t ranks,
                        int64_t pages, const void* x, int64_t ldx, void* y, int64_t ldy,
                        int64_t rows, int32_t dtype) {
  const char* fault = lora_fault(*segments, rows, ranks);
  if (!fault) fault = lora_fault(*target, segments->page_size, ranks, pages);
  if (fault) {
    set_error("%s", fault);
    return 2;
  }
  const int64_t first = segments->segments ? segments->indptr[0] : 0;
  const int64_t last = segments->segments ? segments->indptr[segments->segments] : 0;
  if (first == last || ranks == 0) return 0;
  const int64_t k = target->k, n = target->n;
  const bool convert = dtype != kF32;
  const int64_t x_bytes = convert ? round_up(last * k * 4, 64) : 0;
  const int64_t y_bytes = convert ? round_up(last * n * 4, 64) : 0;
  uint8_t* memory =
      (uint8_t*)scratch.get(x_bytes + y_bytes + lora_scratch_bytes(*segments, 1));
  if (!memory) {
    set_error("no memory for %lld rows", (long long)rows);
    return 1;
  }
  void* rest = memory + x_bytes + y_bytes;
  if (!convert) {
    lora_apply(lora_plan(*segments, target, 1, (const float*)x, ldx, (float*)y, ldy, rest));
    return 0;
  }
  float* xs = (float*)memory;
  float* ys = (float*)(memory + x_bytes);
  const auto at = [](const void* base, int64_t element) { return (uint8_t*)base + element * 2; };
  parallel_for(last - first, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = first + begin; i < first + end; ++i) {
      ops()->widen(at(x, i * ldx), dtype, k, xs + i * k);
      ops()->widen(at(y, i * ldy), dtype, n, ys + i * n);
    }
  });
  lora_apply(lora_plan(*segments, target, 1, xs, k, ys, n, rest));
  parallel_for(last - first, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = first + begin; i < first + end; ++i) {
      ops()->narrow(ys + i * n, n, dtype, at(y, i * ldy));
    }
  });
  return 0;
}
