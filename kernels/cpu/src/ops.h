// What every instruction-set level provides. Activations are float32; leading dimensions (ld...)
// count elements. Functions are threaded unless said otherwise.
#pragma once

#include <stdint.h>

#include "common.h"

namespace sd {

// Rows of a packed matrix that are computed together: one 512-bit register of 32-bit sums.
constexpr int kTile = 16;

constexpr int kMaxHeadDim = 256;

enum ZeroKind : int32_t { kSymmetric = 0, kZeroPoints = 1, kOffsets = 2 };

// A weight [n, k] in the packed layout (linear.inl.h): bits 4 or 8 (grid), 16 (bf16), 32 (float).
struct Matrix {
  const uint8_t* data;  // 64-byte aligned
  int32_t n, k;
  int32_t group;  // along k; k itself for bits 16 and 32
  int32_t bits;
  int32_t zero_kind;
};

// A linear layer. Atom: `main` holds the 4-bit columns, `tail` the 8-bit ones, `order` [k] the
// original column of each reordered one; otherwise tail.n is 0 and order null.
struct Linear {
  Matrix main;
  Matrix tail;
  const int32_t* order;
  float clip;               // of 4-bit activations
  int32_t activation_bits;  // of main: 16 (two 8-bit planes), 8 or 4; ignored by bits 16 and 32
  const float* bias;        // [n] or null
};

// Paged low-rank adapters of one layer's target (definition: kernels/reference/lora.py).
struct LoraTarget {
  const int32_t* a_pages;  // [ranks, a_stride]
  const int32_t* b_pages;  // [ranks, b_stride]
  int32_t a_stride, b_stride;
  int32_t k, n;     // of the adapted layer
  int32_t column;   // where its output begins within y
};

struct LoraSegments {
  const int32_t* indptr;       // [segments + 1] over rows
  const int32_t* rank_indptr;  // [segments + 1] over rank rows
  const float* scales;         // [segments]
  int32_t segments;
  const void* pool;
  int64_t page_size;  // elements
  int32_t pool_dtype;
};

// Key/value cache of one layer (kernels/kv_cache.py). bits 16 (bf16), 8 or 4.
struct KVCacheView {
  void* keys;
  void* values;
  uint16_t* key_params;    // [blocks, kv_heads, block_size, 2] float16: scale, minimum; null for bf16
  uint16_t* value_params;
  int32_t bits, block_size, kv_heads, head_dim;
};

struct LoraWork;

struct Ops {
  const char* name;

  // linear.inl.h
  int64_t (*matrix_bytes)(int32_t n, int32_t k, int32_t group, int32_t bits, int32_t zero_kind);
  // From the canonical row-major form; scales/zeros as in kernels/weights.py, null where unused.
  // bits 16 takes bf16 rows, bits 32 float rows as codes. Not threaded.
  void (*pack_matrix)(const void* codes, const uint16_t* scales, const void* zeros, int32_t n,
                      int32_t k, int32_t group, int32_t bits, int32_t zero_kind, uint8_t* out);
  // One row of the weight as floats [k]. Not threaded.
  void (*matrix_row)(const Matrix& matrix, int64_t row, float* out);
  // Bytes that prepare_rows needs for m rows (a multiple of 64).
  int64_t (*rows_bytes)(const Linear& layer, int64_t m);
  // Quantizes (or converts) x [m, k] for `layer`; valid for every layer of equal k, group, bits,
  // zero_kind, activation_bits, order. buffer: 64-byte aligned. Threaded over rows when m > 1.
  void (*prepare_rows)(const Linear& layer, const float* x, int64_t ldx, int64_t m, void* buffer);
  // y [m, n] = or += of prepared rows, only for tiles [begin, end) of kTile outputs. Not threaded.
  void (*linear_tiles)(const Linear& layer, const void* rows, int64_t m, float* y, int64_t ldy,
                       bool accumulate, int64_t begin, int64_t end);
  // All tiles, threaded.
  void (*linear_prepared)(const Linear& layer, const void* rows, int64_t m, float* y, int64_t ldy,
                          bool accumulate);

  // A hint: after the next threaded call, this layer's linear_prepared will come.
  void (*linear_ahead)(const Linear& layer);

  // elementwise.inl.h (rows threaded only when there are many)
  void (*rms_norm)(const float* x, int64_t ldx, int64_t rows, int32_t columns, const float* weight,
                   float eps, float* out, int64_t ldo);
  // residual += x; out = norm(residual)
  void (*add_rms_norm)(const float* x, int64_t ldx, float* residual, int64_t ldr, int64_t rows,
                       int32_t columns, const float* weight, float eps, float* out, int64_t ldo);
  // In place on [tokens, heads, head_dim] with row stride ld; cos/sin [positions, head_dim / 2].
  void (*rope)(float* x, int64_t ld, int64_t tokens, int32_t heads, int32_t head_dim,
               const int32_t* positions, const float* cos, const float* sin);
  // out [rows, half] = silu(x[:, :half]) * x[:, half:]
  void (*silu_mul)(const float* x, int64_t ldx, int64_t rows, int32_t half, float* out,
                   int64_t ldo);
  // n numbers of `dtype` to floats and back. Not threaded.
  void (*widen)(const void* in, int32_t dtype, int64_t n, float* out);
  void (*narrow)(const float* in, int64_t n, int32_t dtype, void* out);
  // One row [k] of a weight in canonical form as floats. Not threaded.
  void (*grid_row)(const uint8_t* codes, const uint16_t* scales, const void* zeros, int32_t k,
                   int32_t group, int32_t bits, int32_t zero_kind, float* out);

  // attention.inl.h
  // k, v: [tokens, kv_heads, head_dim] with row stride ld.
  void (*write_kv)(const float* k, const float* v, int64_t ld, int64_t tokens,
                   const KVCacheView& cache, const int64_t* slots);
  // q: [tokens, heads, head_dim] with row stride ldq; out: the same with ldo.
  // Sequence b has context_lens[b] positions in the cache; its tokens, rows query_indptr[b] to
  // [b + 1] of q, are the last of them. head_dim at most kMaxHeadDim.
  // scratch: attention_scratch_bytes(...) bytes, 64-byte aligned.
  int64_t (*attention_scratch_bytes)(int64_t tokens, int32_t heads, int32_t head_dim,
                                     int64_t batch, int64_t longest_context);
  void (*paged_attention)(const float* q, int64_t ldq, int64_t tokens, int32_t heads,
                          const KVCacheView& cache, const int32_t* block_tables,
                          int64_t table_stride, const int32_t* context_lens,
                          const int32_t* query_indptr, int64_t batch, float scale, float* out,
                          int64_t ldo, void* scratch);

  // sampling.inl.h (definition: kernels/reference/sampling.py): returns -1, or the first row whose
  // logits hold NaN or plus infinity or nothing but minus infinity, or -2 if there is no memory.
  int64_t (*sample)(const float* logits, int64_t ld, int64_t rows, int32_t vocabulary,
                    const double* draws, const float* temperature, const float* top_p,
                    int64_t* out);

  // lora.inl.h: items [begin, end) of a plan (lora.h). Not threaded.
  void (*lora_shrink)(const LoraWork& work, int64_t begin, int64_t end);
  void (*lora_expand)(const LoraWork& work, int64_t begin, int64_t end);
};

// The level in use; chosen at first use (dispatch.cpp).
const Ops* ops();

// Text of the last failed call in this thread.
void set_error(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace sd
