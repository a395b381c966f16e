// C interface of the key/value cache and of attention; everything a caller can get wrong is
// checked here, before any memory is touched. Results: 0, 1 (no memory) or 2 (bad argument).
#include "ops.h"
#include "pool.h"
#include "scratch.h"

using namespace sd;

namespace {

thread_local Scratch scratch;

bool check_cache(const KVCacheView& cache) {
  if (cache.head_dim < 1 || cache.head_dim > kMaxHeadDim) {
    set_error("head dimension %d is not in 1 to %d", cache.head_dim, kMaxHeadDim);
    return false;
  }
  if (cache.bits == 4 && cache.head_dim % 2) {
    set_error("head dimension %d is odd: a 4-bit cache needs pairs", cache.head_dim);
    return false;
  }
  return true;
}

// rows [rows, columns] of `dtype` as floats at `to`.
void widen_rows(const void* from, int64_t ld, int64_t rows, int64_t columns, int32_t dtype,
                float* to) {
  parallel_for(rows, ceil_div(16384, max64(columns, 1)), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      ops()->widen((const uint8_t*)from + r * ld * (dtype == kF32 ? 4 : 2), dtype, columns,
                   to + r * columns);
    }
  });
}

}  // namespace

// k, v [tokens, kv_heads, head_dim] of `dtype` (row strides in elements) to their slots; a
// negative slot is skipped. blocks: of the cache.
SD_API int sd_write_kv(const void* k, int64_t ldk, const void* v, int64_t ldv, int64_t tokens,
                       const KVCacheView* cache, int64_t blocks, const int64_t* slots,
                       int32_t dtype) {
  if (!check_cache(*cache)) return 2;
  const int64_t size = blocks * cache->block_size;
  for (int64_t t = 0; t < tokens; ++t) {
    if (slots[t] >= size) {
      set_error("slot %lld is not in the cache of %lld", (long long)slots[t], (long long)size);
      return 2;
    }
  }
  if (dtype == kF32 && ldk == ldv) {
    ops()->write_kv((const float*)k, (const float*)v, ldk, tokens, *cache, slots);
    return 0;
  }
  const int64_t columns = (int64_t)cache->kv_heads * cache->head_dim;
  float* memory = (float*)scratch.get(tokens * columns * 8);
  if (tokens > 0 && !memory) {
    set_error("no memory for %lld tokens", (long long)tokens);
    return 1;
  }
  float* values = memory + tokens * columns;
  widen_rows(k, ldk, tokens, columns, dtype, memory);
  widen_rows(v, ldv, tokens, columns, dtype, values);
  ops()->write_kv(memory, values, columns, tokens, *cache, slots);
  return 0;
}

// q, out [tokens, heads, head_dim] of `dtype` (row strides in elements); block_tables [batch,
// width] (row stride table_stride), context_lens [batch], query_indptr [batch + 1].
SD_API int sd_paged_attention(const void* q, int64_t ldq, int64_t tokens, int32_t heads,
                              const KVCacheView* cache, int64_t blocks,
                              const int32_t* block_tables, int64_t table_stride, int64_t width,
                              const int32_t* context_lens, const int32_t* query_indptr,
                              int64_t batch, float scale, void* out, int64_t ldo, int32_t dtype) {
  if (!check_cache(*cache)) return 2;
  if (cache->kv_heads < 1 || heads % cache->kv_heads) {
    set_error("%d query heads cannot share %d key heads", heads, cache->kv_heads);
    return 2;
  }
  if (query_indptr[0] != 0 || query_indptr[batch] != tokens) {
    set_error("query_indptr goes from %d to %d, not from 0 to the %lld rows of q", query_indptr[0],
              query_indptr[batch], (long long)tokens);
    return 2;
  }
  int64_t longest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t queries = (int64_t)query_indptr[b + 1] - query_indptr[b];
    const int64_t context = context_lens[b];
    if (queries < 0 || queries > context || context < 0 || context > width * cache->block_size) {
      set_error("sequence %lld: %lld queries, a context of %lld and %lld blocks of %d",
                (long long)b, (long long)queries, (long long)context, (long long)width,
                cache->block_size);
      return 2;
    }
    if (queries == 0) continue;
    longest = max64(longest, context);
    for (int64_t i = 0; i < ceil_div(context, cache->block_size); ++i) {
      const int64_t block = block_tables[b * table_stride + i];
      if (block < 0 || block >= blocks) {
        set_error("sequence %lld: block %lld is not in the cache of %lld", (long long)b,
                  (long long)block, (long long)blocks);
        return 2;
      }
    }
  }
  const int64_t columns = (int64_t)heads * cache->head_dim;
  const int64_t own =
      ops()->attention_scratch_bytes(tokens, heads, cache->head_dim, batch, longest);
  const int64_t copy = dtype == kF32 ? 0 : round_up(tokens * columns * 4, 64);
  uint8_t* memory = (uint8_t*)scratch.get(own + 2 * copy);
  if (!memory) {
    set_error("no memory for attention of %lld tokens", (long long)tokens);
    return 1;
  }
  if (dtype == kF32) {
    ops()->paged_attention((const float*)q, ldq, tokens, heads, *cache, block_tables, table_stride,
                           context_lens, query_indptr, batch, scale, (float*)out, ldo, memory);
    return 0;
  }
  float* rows = (float*)(memory + own);
  float* results = (float*)(memory + own + copy);
  widen_rows(q, ldq, tokens, columns, dtype, rows);
  ops()->paged_attention(rows, columns, tokens, heads, *cache, block_tables, table_stride,
                         context_lens, query_indptr, batch, scale, results, columns, memory);
  parallel_for(tokens, ceil_div(16384, columns), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      ops()->narrow(results + t * columns, columns, dtype, (uint8_t*)out + t * ldo * 2);
    }
  });
  return 0;
}
