// C interface of the operations on rows. Numbers of other formats pass through floats.
// Results: 0, 1 (no memory) or 2 (bad argument).
#include "ops.h"
#include "pool.h"
#include "scratch.h"

using namespace sd;

namespace {

thread_local Scratch scratch;

int64_t number_bytes(int32_t dtype) { return dtype == kF32 ? 4 : 2; }

// Calls f(row, buffer) for every row, with `floats` floats of working memory each.
template <typename F>
int each_row(int64_t rows, int64_t floats, F&& f) {
  if (rows == 0) return 0;
  const int64_t size = round_up(floats, 16);
  float* memory = (float*)scratch.get(size * 4 * num_threads());
  if (!memory) {
    set_error("no memory for rows of %lld numbers", (long long)floats);
    return 1;
  }
  parallel_for(rows, ceil_div(8192, max64(floats, 1)), [&](int64_t begin, int64_t end, int thread) {
    for (int64_t r = begin; r < end; ++r) f(r, memory + thread * size);
  });
  return 0;
}

const void* row_at(const void* data, int64_t row, int64_t stride, int32_t dtype) {
  return (const uint8_t*)data + row * stride * number_bytes(dtype);
}

void* row_at(void* data, int64_t row, int64_t stride, int32_t dtype) {
  return (uint8_t*)data + row * stride * number_bytes(dtype);
}

int64_t id_at(const void* ids, int64_t index, int32_t id_bytes) {
  return id_bytes == 8 ? ((const int64_t*)ids)[index] : ((const int32_t*)ids)[index];
}

// All `count` numbers lie in [0, limit).
bool in_range(const void* ids, int64_t count, int32_t id_bytes, int64_t limit, const char* what) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = id_at(ids, i, id_bytes);
    if (id < 0 || id >= limit) {
      set_error("%s %lld is not in [0, %lld)", what, (long long)id, (long long)limit);
      return false;
    }
  }
  return true;
}

}  // namespace

// out [rows, columns] = x / sqrt(mean(x^2) + eps) * weight; row strides in elements.
SD_API int sd_rms_norm(const void* x, int64_t ldx, int64_t rows, int32_t columns,
                       const float* weight, float eps, void* out, int64_t ldo, int32_t dtype) {
  if (dtype == kF32) {
    ops()->rms_norm((const float*)x, ldx, rows, columns, weight, eps, (float*)out, ldo);
    return 0;
  }
  return each_row(rows, columns, [&](int64_t r, float* buffer) {
    ops()->widen(row_at(x, r, ldx, dtype), dtype, columns, buffer);
    ops()->rms_norm(buffer, columns, 1, columns, weight, eps, buffer, columns);
    ops()->narrow(buffer, columns, dtype, row_at(out, r, ldo, dtype));
  });
}

// residual += x, rounded to its format; out = rms_norm(residual).
SD_API int sd_add_rms_norm(const void* x, int64_t ldx, void* residual, int64_t ldr, int64_t rows,
                           int32_t columns, const float* weight, float eps, void* out, int64_t ldo,
                           int32_t dtype) {
  if (dtype == kF32) {
    ops()->add_rms_norm((const float*)x, ldx, (float*)residual, ldr, rows, columns, weight, eps,
                        (float*)out, ldo);
    return 0;
  }
  return each_row(rows, 2 * (int64_t)columns, [&](int64_t r, float* buffer) {
    float* sum = buffer + columns;
    void* row = row_at(residual, r, ldr, dtype);
    ops()->widen(row_at(x, r, ldx, dtype), dtype, columns, buffer);
    ops()->widen(row, dtype, columns, sum);
    for (int32_t i = 0; i < columns; ++i) sum[i] += buffer[i];
    ops()->narrow(sum, columns, dtype, row);
    ops()->widen(row, dtype, columns, sum);
    ops()->rms_norm(sum, columns, 1, columns, weight, eps, buffer, columns);
    ops()->narrow(buffer, columns, dtype, row_at(out, r, ldo, dtype));
  });
}

// In place on x [tokens, heads, head_dim] (row stride ld); cos, sin [limit, head_dim / 2].
SD_API int sd_rope(void* x, int64_t ld, int64_t tokens, int32_t heads, int32_t head_dim,
                   const int32_t* positions, const float* cos, const float* sin, int64_t limit,
                   int32_t dtype) {
  if (!in_range(positions, tokens, 4, limit, "position")) return 2;
  if (dtype == kF32) {
    ops()->rope((float*)x, ld, tokens, heads, head_dim, positions, cos, sin);
    return 0;
  }
  const int64_t columns = (int64_t)heads * head_dim;
  return each_row(tokens, columns, [&](int64_t t, float* buffer) {
    void* row = row_at(x, t, ld, dtype);
    ops()->widen(row, dtype, columns, buffer);
    ops()->rope(buffer, columns, 1, heads, head_dim, positions + t, cos, sin);
    ops()->narrow(buffer, columns, dtype, row);
  });
}

// out [rows, half] = silu(x[:, :half]) * x[:, half:].
SD_API int sd_silu_mul(const void* x, int64_t ldx, int64_t rows, int32_t half, void* out,
                       int64_t ldo, int32_t dtype) {
  if (dtype == kF32) {
    ops()->silu_mul((const float*)x, ldx, rows, half, (float*)out, ldo);
    return 0;
  }
  return each_row(rows, 2 * (int64_t)half, [&](int64_t r, float* buffer) {
    ops()->widen(row_at(x, r, ldx, dtype), dtype, 2 * (int64_t)half, buffer);
    ops()->silu_mul(buffer, 2 * (int64_t)half, 1, half, buffer, half);
    ops()->narrow(buffer, half, dtype, row_at(out, r, ldo, dtype));
  });
}

// out [count, k] = rows `ids` (of id_bytes 4 or 8) of weight [n, k] (row stride ldw).
SD_API int sd_embedding(const void* ids, int32_t id_bytes, int64_t count, const void* weight,
                        int64_t ldw, int64_t n, int64_t k, void* out, int32_t dtype) {
  if (!in_range(ids, count, id_bytes, n, "token")) return 2;
  const int64_t bytes = k * number_bytes(dtype);
  parallel_for(count, ceil_div(65536, max64(bytes, 1)), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      memcpy((uint8_t*)out + i * bytes, row_at(weight, id_at(ids, i, id_bytes), ldw, dtype),
             (size_t)bytes);
    }
  });
  return 0;
}

// The same of a quantized weight in canonical form (kernels/weights.py); out of `dtype`.
SD_API int sd_embedding_grid(const void* ids, int32_t id_bytes, int64_t count,
                             const uint8_t* codes, const uint16_t* scales, const uint8_t* zeros,
                             int64_t n, int32_t k, int32_t group, int32_t bits, int32_t zero_kind,
                             void* out, int32_t dtype) {
  if (!in_range(ids, count, id_bytes, n, "token")) return 2;
  const int64_t groups = k / group, zero_bytes = zero_kind == kOffsets ? 2 : 1;
  return each_row(count, k, [&](int64_t i, float* buffer) {
    const int64_t row = id_at(ids, i, id_bytes);
    const uint8_t* zero = zero_kind == kSymmetric ? nullptr : zeros + row * groups * zero_bytes;
    ops()->grid_row(codes + row * k * bits / 8, scales + row * groups, zero, k, group, bits,
                    zero_kind, buffer);
    ops()->narrow(buffer, k, dtype, row_at(out, i, k, dtype));
  });
}
