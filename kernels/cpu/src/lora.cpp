// How the application of adapters is cut into items.
#include "lora.h"

#include "pool.h"

namespace sd {
namespace {

int64_t rows_of(const LoraSegments& s, int64_t i) { return s.indptr[i + 1] - s.indptr[i]; }
int64_t rank_of(const LoraSegments& s, int64_t i) {
  return s.rank_indptr[i + 1] - s.rank_indptr[i];
}

// Numbers of x A for one target.
int64_t shrunk_numbers(const LoraSegments& s) {
  int64_t numbers = 0;
  for (int64_t i = 0; i < s.segments; ++i) numbers += rows_of(s, i) * rank_of(s, i);
  return round_up(numbers, 16);
}

int64_t plan_bytes(const LoraSegments& s) { return round_up((3 * (int64_t)s.segments + 2) * 8, 64); }

}  // namespace

int64_t lora_scratch_bytes(const LoraSegments& segments, int32_t targets) {
  return plan_bytes(segments) + targets * shrunk_numbers(segments) * 4;
}

LoraWork lora_plan(const LoraSegments& segments, const LoraTarget* targets, int32_t count,
                   const float* x, int64_t ldx, float* y, int64_t ldy, void* scratch) {
  const int64_t n = segments.segments;
  int64_t* offsets = (int64_t*)scratch;
  int64_t* shrink_first = offsets + n;
  int64_t* expand_first = shrink_first + n + 1;
  int64_t columns = 0;
  for (int32_t t = 0; t < count; ++t) columns += ceil_div(targets[t].n, kLoraColumns);
  int64_t numbers = 0, shrinks = 0, expands = 0;
  for (int64_t s = 0; s < n; ++s) {
    const int64_t rank = rank_of(segments, s);
    const int64_t blocks = rank > 0 ? ceil_div(rows_of(segments, s), kLoraRows) : 0;
    offsets[s] = numbers;
    shrink_first[s] = shrinks;
    expand_first[s] = expands;
    numbers += rows_of(segments, s) * rank;
    shrinks += blocks * count * ceil_div(rank, kLoraRanks);
    expands += blocks * columns;
  }
  shrink_first[n] = shrinks;
  expand_first[n] = expands;
  return LoraWork{segments, targets, count, x, ldx, y, ldy,
                  (float*)((uint8_t*)scratch + plan_bytes(segments)), round_up(numbers, 16),
                  offsets, shrink_first, expand_first, shrinks, expands};
}

void lora_apply(const LoraWork& work) {
  parallel_for(work.shrink_items, 1, [&](int64_t begin, int64_t end, int) {
    ops()->lora_shrink(work, begin, end);
  });
  parallel_for(work.expand_items, 1, [&](int64_t begin, int64_t end, int) {
    ops()->lora_expand(work, begin, end);
  });
}

const char* lora_fault(const LoraSegments& s, int64_t rows, int64_t ranks) {
  if (s.indptr[0] < 0 || s.indptr[s.segments] > rows) return "indptr goes beyond the rows of x";
  if (s.rank_indptr[0] != 0 || s.rank_indptr[s.segments] != ranks) {
    return "rank_indptr must go from 0 to the number of rank rows";
  }
  for (int64_t i = 0; i < s.segments; ++i) {
    if (rows_of(s, i) < 0) return "indptr must not fall";
    if (rank_of(s, i) < 0) return "rank_indptr must not fall";
  }
  return nullptr;
}

const char* lora_fault(const LoraTarget& target, int64_t page_size, int64_t ranks, int64_t pages) {
  const int64_t a_pages = ceil_div(target.k, page_size), b_pages = ceil_div(target.n, page_size);
  uint32_t largest = 0;  // negative numbers become large ones
  for (int64_t j = 0; j < ranks; ++j) {
    for (int64_t p = 0; p < a_pages; ++p) {
      const uint32_t page = (uint32_t)target.a_pages[j * target.a_stride + p];
      largest = page > largest ? page : largest;
    }
    for (int64_t p = 0; p < b_pages; ++p) {
      const uint32_t page = (uint32_t)target.b_pages[j * target.b_stride + p];
      largest = page > largest ? page : largest;
    }
  }
  return ranks * (a_pages + b_pages) > 0 && (int64_t)largest >= pages
             ? "a page table names a page that the pool does not have"
             : nullptr;
}

}  // namespace sd
