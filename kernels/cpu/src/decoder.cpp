#include "decoder.h"

#include <math.h>
#include <time.h>

#include <algorithm>

#include "pool.h"

namespace sd {
namespace {

// Tiles of a matrix that a thread takes at once.
constexpr int64_t kUnit = 4;

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

}  // namespace

// Parts of memory_ that hold what passes from one operation to the next.
struct Decoder::Workspace {
  float* residual;  // [tokens, hidden]
  float* x;         // [tokens or rows, x_width]: normalised, or what attention gives
  float* wide;      // [tokens, wide_width]: queries, keys, values; then gate and up
  void* prepared;
  void* scratch;
  int64_t x_width, wide_width;
};

Decoder::Decoder(const DecoderModel& model)
    : model_(model), layers_(new DecoderLayer[(size_t)model.layers]) {
  std::copy(model.layer, model.layer + model.layers, layers_);
  model_.layer = layers_;
}

Decoder::~Decoder() { delete[] layers_; }

void Decoder::set_timing(bool on) {
  timing_ = on;
  std::fill(nanoseconds_, nanoseconds_ + kKinds, 0);
}

void Decoder::lap(Kind kind) {
  if (!timing_) return;
  const int64_t time = now();
  nanoseconds_[(int32_t)kind] += time - last_;
  last_ = time;
}

bool Decoder::fits(const StepBatch& b) const {
  for (int64_t t = 0; t < b.tokens; ++t) {
    if (b.ids[t] < 0 || b.ids[t] >= model_.vocab) {
      set_error("token id %d is outside of the vocabulary of %d", b.ids[t], model_.vocab);
      return false;
    }
    if (b.positions[t] < 0 || b.positions[t] >= model_.positions) {
      set_error("position %d is outside of the %d positions of the rotary table", b.positions[t],
                model_.positions);
      return false;
    }
  }
  const int64_t block_size = b.caches[0].block_size, slots = b.blocks * block_size;
  for (int64_t t = 0; t < b.tokens; ++t) {
    if (b.slots[t] >= slots) {
      set_error("slot %lld is outside of a cache of %lld slots", (long long)b.slots[t],
                (long long)slots);
      return false;
    }
  }
  if (b.query_indptr[0] != 0 || b.query_indptr[b.sequences] != b.tokens) {
    set_error("query_indptr must go from 0 to the %lld tokens", (long long)b.tokens);
    return false;
  }
  for (int64_t s = 0; s < b.sequences; ++s) {
    const int64_t queries = b.query_indptr[s + 1] - (int64_t)b.query_indptr[s];
    const int64_t context = b.context_lens[s];
    if (queries < 0 || context < queries) {
      set_error("sequence %lld of %lld positions cannot end in %lld tokens", (long long)s,
                (long long)context, (long long)queries);
      return false;
    }
    const int64_t needed = ceil_div(context, block_size);
    if (needed > b.table_width) {
      set_error("the block table has %lld blocks of %lld tokens for a sequence of %lld",
                (long long)b.table_width, (long long)block_size, (long long)context);
      return false;
    }
    for (int64_t i = 0; i < needed; ++i) {
      const int32_t block = b.block_tables[s * b.table_stride + i];
      if (block >= 0 && block < b.blocks) continue;
      set_error("block %d is outside of a cache of %lld blocks", block, (long long)b.blocks);
      return false;
    }
  }
  for (int64_t r = 0; r < b.rows; ++r) {
    if (b.row[r] < 0 || b.row[r] >= b.tokens) {
      set_error("row %d is none of the %lld tokens", b.row[r], (long long)b.tokens);
      return false;
    }
  }
  const char* fault = b.lora ? lora_fault(*b.lora, b.tokens, b.lora_ranks) : nullptr;
  if (fault) set_error("adapters: %s", fault);
  return !fault;
}

bool Decoder::reserve(const StepBatch& b, Workspace& w) {
  const int64_t q = (int64_t)model_.heads * model_.head_dim;
  const int64_t kv = (int64_t)model_.kv_heads * model_.head_dim;
  w.x_width = max64(model_.hidden, q);
  w.wide_width = max64(q + 2 * kv, 2 * (int64_t)model_.intermediate);
  int64_t prepared = ops()->rows_bytes(model_.head, b.rows);
  for (int32_t l = 0; l < model_.layers; ++l) {
    const DecoderLayer& layer = layers_[l];
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      prepared = max64(prepared, ops()->rows_bytes(*linear, b.tokens));
    }
  }
  int32_t longest = 0;
  for (int64_t s = 0; s < b.sequences; ++s) longest = std::max(longest, b.context_lens[s]);
  int64_t scratch = ops()->attention_scratch_bytes(b.tokens, model_.heads, model_.head_dim,
                                                   b.sequences, longest);
  if (b.lora) scratch = max64(scratch, lora_scratch_bytes(*b.lora, 3));
  const int64_t residual = round_up(b.tokens * model_.hidden * 4, 64);
  const int64_t x = round_up(max64(b.tokens, b.rows) * w.x_width * 4, 64);
  const int64_t wide = round_up(b.tokens * w.wide_width * 4, 64);
  prepared = round_up(prepared, 64);
  uint8_t* memory = (uint8_t*)memory_.get(residual + x + wide + prepared + scratch);
  if (!memory) {
    set_error("no memory for a step of %lld tokens", (long long)b.tokens);
    return false;
  }
  w.residual = (float*)memory;
  w.x = (float*)(memory + residual);
  w.wide = (float*)(memory + residual + x);
  w.prepared = memory + residual + x + wide;
  w.scratch = memory + residual + x + wide + prepared;
  return true;
}

void Decoder::embed(const StepBatch& b, const Workspace& w) {
  const int64_t width = model_.hidden;
  const int64_t bytes = width * (model_.embedding_dtype == kF32 ? 4 : 2);
  parallel_for(b.tokens, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* out = w.residual + t * width;
      if (model_.embedding.data) {
        ops()->matrix_row(model_.embedding, b.ids[t], out);
      } else {
        const uint8_t* row = (const uint8_t*)model_.embedding_rows + b.ids[t] * bytes;
        ops()->widen(row, model_.embedding_dtype, width, out);
      }
    }
  });
  lap(Kind::embedding);
}

// y = or += linear(x), and what the adapters add. The first half of the adapters' work needs only
// x, so threads share it with the tiles of the matrix. `next` is the layer that comes after.
void Decoder::project(const StepBatch& b, const Workspace& w, const Linear& linear, const float* x,
                      int64_t ldx, float* y, int64_t ldy, bool accumulate,
                      int64_t first_target, int32_t targets, const Linear& next, Kind kind) {
  const Ops& op = *ops();
  op.prepare_rows(linear, x, ldx, b.tokens, w.prepared);
  lap(Kind::prepare);
  LoraTarget adapted[3];
  int32_t used = 0;
  for (int32_t i = 0; b.lora && i < targets; ++i) {
    const LoraTarget& target = b.lora_targets[first_target + i];
    if (target.a_pages) adapted[used++] = target;
  }
  op.linear_ahead(next);
  if (!used) {
    op.linear_prepared(linear, w.prepared, b.tokens, y, ldy, accumulate);
    return lap(kind);
  }
  const LoraWork work = lora_plan(*b.lora, adapted, used, x, ldx, y, ldy, w.scratch);
  const int64_t tiles = ceil_div(linear.main.n, kTile);
  // So many shrink items take about as long as kUnit tiles; threads begin with one and with the
  // other, so that they do not all wait for memory.
  const int64_t per = max64(2, b.tokens / 3), shrinks = ceil_div(work.shrink_items, per);
  parallel_for(shrinks + ceil_div(tiles, kUnit), 1, [&](int64_t begin, int64_t end, int) {
    if (begin < shrinks) {
      op.lora_shrink(work, begin * per, min64(min64(end, shrinks) * per, work.shrink_items));
    }
    if (end <= shrinks) return;
    const int64_t first = max64(begin - shrinks, 0) * kUnit;
    op.linear_tiles(linear, w.prepared, b.tokens, y, ldy, accumulate, first,
                    min64((end - shrinks) * kUnit, tiles));
  });
  lap(kind);
  parallel_for(work.expand_items, 1, [&](int64_t begin, int64_t end, int) {
    op.lora_expand(work, begin, end);
  });
  lap(Kind::lora);
}

void Decoder::attend(const StepBatch& b, const Workspace& w, int32_t number) {
  const Ops& op = *ops();
  const DecoderLayer& layer = layers_[number];
  const KVCacheView& cache = b.caches[number];
  const int64_t target = (int64_t)number * kTargets;
  const int32_t heads = model_.heads, kv_heads = model_.kv_heads, width = model_.head_dim;
  const int64_t ld = (int64_t)(heads + 2 * kv_heads) * width, q_width = (int64_t)heads * width;
  float* q = w.wide;
  float* k = q + q_width;
  float* v = k + (int64_t)kv_heads * width;

  op.rms_norm(w.residual, model_.hidden, b.tokens, model_.hidden, layer.input_norm,
              model_.rms_eps, w.x, w.x_width);
  lap(Kind::norm);
  project(b, w, layer.qkv, w.x, w.x_width, w.wide, ld, false, target + kQ, 3, layer.o, Kind::qkv);
  if (layer.q_norm) {
    parallel_for(b.tokens, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        float* tq = q + t * ld;
        float* tk = k + t * ld;
        op.rms_norm(tq, width, heads, width, layer.q_norm, model_.rms_eps, tq, width);
        op.rms_norm(tk, width, kv_heads, width, layer.k_norm, model_.rms_eps, tk, width);
      }
    });
    lap(Kind::norm);
  }
  // Keys follow queries: one call rotates both.
  op.rope(q, ld, b.tokens, heads + kv_heads, width, b.positions, model_.cos, model_.sin);
  lap(Kind::rope);
  op.write_kv(k, v, ld, b.tokens, cache, b.slots);
  lap(Kind::cache);
  op.paged_attention(q, ld, b.tokens, heads, cache, b.block_tables, b.table_stride,
                     b.context_lens, b.query_indptr, b.sequences, 1.0f / sqrtf((float)width), w.x,
                     w.x_width, w.scratch);
  lap(Kind::attention);
  project(b, w, layer.o, w.x, w.x_width, w.residual, model_.hidden, true, target + kO, 1,
          layer.gate_up, Kind::o);
}

void Decoder::feed_forward(const StepBatch& b, const Workspace& w, int32_t number) {
  const Ops& op = *ops();
  const DecoderLayer& layer = layers_[number];
  const int64_t target = (int64_t)number * kTargets;
  const int64_t ld = 2 * (int64_t)model_.intermediate;
  op.rms_norm(w.residual, model_.hidden, b.tokens, model_.hidden, layer.post_norm, model_.rms_eps,
              w.x, w.x_width);
  lap(Kind::norm);
  project(b, w, layer.gate_up, w.x, w.x_width, w.wide, ld, false, target + kGate, 2, layer.down,
          Kind::gate_up);
  op.silu_mul(w.wide, ld, b.tokens, model_.intermediate, w.wide, ld);
  lap(Kind::silu);
  project(b, w, layer.down, w.wide, ld, w.residual, model_.hidden, true, target + kDown, 1,
          number + 1 < model_.layers ? layers_[number + 1].qkv : model_.head, Kind::down);
}

void Decoder::head(const StepBatch& b, const Workspace& w) {
  if (b.rows == 0) return;
  const Ops& op = *ops();
  for (int64_t r = 0; r < b.rows; ++r) {
    op.rms_norm(w.residual + (int64_t)b.row[r] * model_.hidden, model_.hidden, 1, model_.hidden,
                model_.final_norm, model_.rms_eps, w.x + r * w.x_width, w.x_width);
  }
  lap(Kind::norm);
  op.prepare_rows(model_.head, w.x, w.x_width, b.rows, w.prepared);
  lap(Kind::prepare);
  op.linear_ahead(layers_[0].qkv);
  op.linear_prepared(model_.head, w.prepared, b.rows, b.logits, model_.vocab, false);
  lap(Kind::head);
}

int Decoder::step(const StepBatch& batch) {
  if (timing_) last_ = now();
  if (batch.tokens == 0 && batch.rows == 0) return 0;
  if (!fits(batch)) return 2;
  Workspace w{};
  if (!reserve(batch, w)) return 1;
  embed(batch, w);
  for (int32_t layer = 0; layer < model_.layers; ++layer) {
    attend(batch, w, layer);
    feed_forward(batch, w, layer);
  }
  head(batch, w);
  return 0;
}

}  // namespace sd
