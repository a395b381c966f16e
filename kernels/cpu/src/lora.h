// Low-rank adapters of a batch (Punica's SGMV over S-LoRA's pages): y += scale (x A) B, cut into
// items that threads can take in any order. All shrink items come before any expand item.
#pragma once

#include "ops.h"

namespace sd {

// Rows of a segment, rank rows and output columns of one item.
constexpr int64_t kLoraRows = 32;
constexpr int64_t kLoraRanks = 8;
constexpr int64_t kLoraColumns = 256;

// One application to `count` targets that share x.
struct LoraWork {
  LoraSegments segments;
  const LoraTarget* targets;
  int32_t count;
  const float* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  // x A: for every target `numbers` floats, those of segment s from offsets[s]: [rows, rank].
  float* shrunk;
  int64_t numbers;
  const int64_t* offsets;       // [segments]
  const int64_t* shrink_first;  // [segments + 1]: items of segment s
  const int64_t* expand_first;
  int64_t shrink_items, expand_items;
};

// Bytes of scratch for a plan, a multiple of 64.
int64_t lora_scratch_bytes(const LoraSegments& segments, int32_t targets);

// scratch: 64-byte aligned.
LoraWork lora_plan(const LoraSegments& segments, const LoraTarget* targets, int32_t count,
                   const float* x, int64_t ldx, float* y, int64_t ldy, void* scratch);

// Both halves, threaded.
void lora_apply(const LoraWork& work);

// Null, or what is wrong with the numbers that say where things are: `rows` rows of x, `pages`
// pages in the pool, `ranks` rows in every page table.
const char* lora_fault(const LoraSegments& segments, int64_t rows, int64_t ranks);
const char* lora_fault(const LoraTarget& target, int64_t page_size, int64_t ranks, int64_t pages);

}  // namespace sd
