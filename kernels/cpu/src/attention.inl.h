// Attention over a paged cache. Sequences with few new tokens are split over their context in
// chunks of fixed length, whose results are joined; those with many, in blocks of queries. Neither
// depends on the number of threads or on the other sequences of the batch.
// Included inside a level's namespace.
#include "kv_rows.inl.h"

namespace attention {

constexpr int kChunk = 128;    // keys of one work item
constexpr int kFewRows = 16;   // queries times heads per key head up to which contexts are split
constexpr int kQueries = 48;   // queries times heads of a block
constexpr int kBlockKeys = 64;

struct Call {
  const float* q;
  int64_t ldq;
  float* out;
  int64_t ldo;
  KVCacheView cache;
  const int32_t* tables;
  int64_t table_stride;
  const int32_t* contexts;
  const int32_t* indptr;
  int64_t batch;
  int64_t group;  // heads per key head
  float scale;
  int64_t row_bytes;
  int64_t padded;  // head_dim, up to whole steps of the reader
  // In scratch:
  int64_t* items;     // [batch + 1] first work item of each sequence
  int64_t* partials;  // [batch] where its chunks' results begin, in floats
  int32_t* pending;   // [batch, kv_heads] chunks that are not done
  float* results;     // per chunk, key head and row: sums [padded], maximum, total
};

SD_INLINE bool is_split(int64_t queries, int64_t group) {
  return queries == 1 || queries * group <= kFewRows;
}
SD_INLINE int64_t queries_per_block(int64_t group) { return max64(1, kQueries / group); }
SD_INLINE int64_t head_blocks(int64_t group) { return ceil_div(group, kQueries); }

// f(index among the positions, row of the cache, run length): positions that lie together.
template <typename F>
SD_INLINE void each_run(const Call& call, int64_t b, int64_t head, int64_t begin, int64_t count,
                        F&& f) {
  const int64_t size = call.cache.block_size;
  const int32_t* table = call.tables + b * call.table_stride;
  for (int64_t i = 0; i < count;) {
    const int64_t offset = (begin + i) % size, run = min64(size - offset, count - i);
    const int64_t block = table[(begin + i) / size];
    f(i, (block * call.cache.kv_heads + head) * size + offset, run);
    i += run;
  }
}

}  // namespace attention

#include "attention_block.inl.h"
#include "attention_chunk.inl.h"

namespace attention {

template <int BITS>
static void attend(const Call& call, int64_t grain) {
  parallel_for(call.items[call.batch], grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t low = 0, high = call.batch;  // the last b with items[b] <= item
      while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        (call.items[middle] <= item ? low : high) = middle;
      }
      const int64_t queries = call.indptr[low + 1] - call.indptr[low];
      if (is_split(queries, call.group)) {
        chunk_item<BITS>(call, low, item - call.items[low]);
      } else {
        block_item(call, low, item - call.items[low]);
      }
    }
  });
}

static int64_t scratch_bytes(int64_t tokens, int32_t heads, int32_t head_dim, int64_t batch,
                             int64_t longest_context) {
  const int64_t chunks = ceil_div(longest_context, kChunk);
  const int64_t rows = min64(tokens, batch * kFewRows) * heads;
  const int64_t results = chunks > 1 ? rows * chunks * (round_up(head_dim, 2 * kLanes) + 2) : 0;
  return round_up((2 * batch + 1) * 8 + batch * heads * 4, 64) + round_up(results * 4, 64);
}

static void paged_attention(const float* q, int64_t ldq, int64_t tokens, int32_t heads,
                            const KVCacheView& cache, const int32_t* block_tables,
                            int64_t table_stride, const int32_t* context_lens,
                            const int32_t* query_indptr, int64_t batch, float scale, float* out,
                            int64_t ldo, void* scratch) {
  (void)tokens;
  const int64_t step = cache.bits == 8 ? kLanes : 2 * kLanes;
  Call call;
  call.q = q;
  call.ldq = ldq;
  call.out = out;
  call.ldo = ldo;
  call.cache = cache;
  call.tables = block_tables;
  call.table_stride = table_stride;
  call.contexts = context_lens;
  call.indptr = query_indptr;
  call.batch = batch;
  call.group = heads / cache.kv_heads;
  call.scale = scale;
  call.row_bytes = (int64_t)cache.head_dim * cache.bits / 8;
  call.padded = round_up(cache.head_dim, step);
  call.items = (int64_t*)scratch;
  call.partials = call.items + batch + 1;
  call.pending = (int32_t*)(call.partials + batch);
  call.results = (float*)((uint8_t*)scratch +
                          round_up((2 * batch + 1) * 8 + batch * heads * 4, 64));
  int64_t items = 0, floats = 0, work = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t queries = query_indptr[b + 1] - query_indptr[b];
    const int64_t chunks = ceil_div(context_lens[b], kChunk);
    call.items[b] = items;
    call.partials[b] = floats;
    work += queries * context_lens[b] * heads * cache.head_dim;
    if (queries == 0) continue;
    if (!is_split(queries, call.group)) {
      items += cache.kv_heads * head_blocks(call.group) *
               ceil_div(queries, queries_per_block(call.group));
      continue;
    }
    items += cache.kv_heads * chunks;
    if (chunks > 1) floats += chunks * cache.kv_heads * queries * call.group * result_size(call);
    for (int64_t h = 0; h < cache.kv_heads; ++h) {
      call.pending[b * cache.kv_heads + h] = (int32_t)chunks;
    }
  }
  call.items[batch] = items;
  // Less work than it takes to wake a thread stays in this one.
  const int64_t grain = work < 65536 ? max64(items, 1) : 1;
  if (cache.bits == 16) attend<16>(call, grain);
  if (cache.bits == 8) attend<8>(call, grain);
  if (cache.bits == 4) attend<4>(call, grain);
}

}  // namespace attention

static void fill_attention(Ops& ops) {
  ops.write_kv = &write_kv;
  ops.attention_scratch_bytes = &attention::scratch_bytes;
  ops.paged_attention = &attention::paged_attention;
}
