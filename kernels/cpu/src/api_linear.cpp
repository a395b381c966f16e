// C interface of the linear layers.
#include "ops.h"
#include "pool.h"
#include "scratch.h"

using namespace sd;

namespace {

thread_local Scratch scratch;


}  // namespace

SD_API int64_t sd_matrix_bytes(int32_t n, int32_t k, int32_t group, int32_t bits,
                               int32_t zero_kind) {
  return ops()->matrix_bytes(n, k, group, bits, zero_kind);
}

SD_API void sd_pack_matrix(const void* codes, const uint16_t* scales, const void* zeros, int32_t n,
                           int32_t k, int32_t group, int32_t bits, int32_t zero_kind,
                           uint8_t* out) {
  ops()->pack_matrix(codes, scales, zeros, n, k, group, bits, zero_kind, out);
}

// Rows of a packed weight as numbers of `dtype`: out [count, k].
SD_API int sd_matrix_rows(const Matrix* matrix, const int64_t* rows, int64_t count, void* out,
                          int32_t dtype) {
  const int64_t k = matrix->k;
  float* row = (float*)scratch.get(k * 4);
  if (!row) {
    set_error("no memory for a row of %d numbers", matrix->k);
    return 1;
  }
  for (int64_t i = 0; i < count; ++i) {
    ops()->matrix_row(*matrix, rows[i], row);
    for (int64_t c = 0; c < k; ++c) store_as(out, i * k + c, dtype, row[c]);
  }
  return 0;
}

// y [m, n] = x [m, k] times the layer; x and y of `dtype` with row strides in elements.
SD_API int sd_linear(const Linear* layer, const void* x, int64_t ldx, int64_t m, void* y,
                     int64_t ldy, int32_t dtype) {
  if (m == 0) return 0;
  const int64_t k = layer->main.k + (layer->tail.n ? layer->tail.k : 0), n = layer->main.n;
  const bool convert = dtype != kF32;
  const int64_t x_bytes = convert ? round_up(m * k * 4, 64) : 0;
  const int64_t y_bytes = convert ? round_up(m * n * 4, 64) : 0;
  uint8_t* memory = (uint8_t*)scratch.get(x_bytes + y_bytes + ops()->rows_bytes(*layer, m));
  if (!memory) {
    set_error("no memory for %lld rows", (long long)m);
    return 1;
  }
  float* xs = (float*)memory;
  float* ys = (float*)(memory + x_bytes);
  void* rows = memory + x_bytes + y_bytes;
  if (!convert) {
    ops()->prepare_rows(*layer, (const float*)x, ldx, m, rows);
    ops()->linear_prepared(*layer, rows, m, (float*)y, ldy, false);
    return 0;
  }
  parallel_for(m, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < k; ++c) xs[i * k + c] = load_as_float(x, i * ldx + c, dtype);
    }
  });
  ops()->prepare_rows(*layer, xs, k, m, rows);
  ops()->linear_prepared(*layer, rows, m, ys, n, false);
  parallel_for(m, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < n; ++c) store_as(y, i * ldy + c, dtype, ys[i * n + c]);
    }
  });
  return 0;
}
