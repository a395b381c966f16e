// A Llama-type decoder (Llama, Mistral, Qwen2, Qwen3): one call computes one step of a batch.
#pragma once

#include "lora.h"
#include "ops.h"
#include "scratch.h"

namespace sd {

// Layers that adapters can adapt, in the order of StepBatch::lora_targets.
enum Target : int32_t { kQ, kK, kV, kO, kGate, kUp, kDown, kTargets };

struct DecoderLayer {
  const float* input_norm;  // [hidden]
  const float* post_norm;   // [hidden]
  const float* q_norm;      // [head_dim], or null
  const float* k_norm;
  Linear qkv;      // [(heads + 2 kv_heads) head_dim, hidden]
  Linear o;        // [hidden, heads head_dim]
  Linear gate_up;  // [2 intermediate, hidden]
  Linear down;     // [hidden, intermediate]
};

struct DecoderModel {
  int32_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab;
  int32_t positions;  // rows of cos and sin
  float rms_eps;
  const DecoderLayer* layer;
  Matrix embedding;            // data null: `embedding_rows` instead
  const void* embedding_rows;  // [vocab, hidden]
  int32_t embedding_dtype;
  const float* final_norm;  // [hidden]
  Linear head;              // [vocab, hidden]
  const float* cos;         // [positions, head_dim / 2]
  const float* sin;
};

// Tokens of sequence b are rows query_indptr[b] to [b + 1]; they are its last positions.
struct StepBatch {
  int64_t tokens;
  const int32_t* ids;
  const int32_t* positions;
  const int64_t* slots;
  int64_t sequences;
  const int32_t* query_indptr;  // [sequences + 1]
  const int32_t* context_lens;  // [sequences], these tokens counted
  const int32_t* block_tables;  // [sequences, table_stride]
  int64_t table_stride, table_width;
  const KVCacheView* caches;  // [layers]
  int64_t blocks;             // of every cache
  int64_t rows;
  const int32_t* row;               // [rows]: tokens whose logits are wanted
  const LoraSegments* lora;         // or null
  const LoraTarget* lora_targets;   // [layers, kTargets]; a_pages null: nothing adapted
  int64_t lora_ranks;
  float* logits;  // [rows, vocab]
};

// What the time of a step is booked on.
enum class Kind : int32_t {
  embedding, norm, prepare, qkv, rope, cache, attention, o, gate_up, silu, down, lora, head
};
constexpr const char* kKindNames =
    "embedding norm prepare qkv rope cache attention o gate_up silu down lora head";
constexpr int32_t kKinds = (int32_t)Kind::head + 1;

class Decoder {
 public:
  explicit Decoder(const DecoderModel& model);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // 0, 1 for no memory, 2 for a batch that does not fit; set_error says what. One at a time.
  int step(const StepBatch& batch);

  void set_timing(bool on);
  const int64_t* nanoseconds() const { return nanoseconds_; }

 private:
  struct Workspace;
  bool fits(const StepBatch& batch) const;
  bool reserve(const StepBatch& batch, Workspace& w);
  void embed(const StepBatch& batch, const Workspace& w);
  void attend(const StepBatch& batch, const Workspace& w, int32_t layer);
  void feed_forward(const StepBatch& batch, const Workspace& w, int32_t layer);
  void head(const StepBatch& batch, const Workspace& w);
  void project(const StepBatch& batch, const Workspace& w, const Linear& linear, const float* x,
               int64_t ldx, float* y, int64_t ldy, bool accumulate, int64_t first_target,
               int32_t targets, const Linear& next, Kind kind);
  void lap(Kind kind);

  DecoderModel model_;
  DecoderLayer* layers_;
  Scratch memory_;
  bool timing_ = false;
  int64_t last_ = 0;
  int64_t nanoseconds_[kKinds] = {};
};

}  // namespace sd
