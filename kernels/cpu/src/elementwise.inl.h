// Normalisation, rotary positions, gated activation, rows of an embedding, number formats.
// Included inside a level's namespace.
#include "lanes.inl.h"

// Rows that are worth a thread's while.
SD_INLINE int64_t rows_grain(int64_t columns) { return ceil_div(16384, max64(columns, 1)); }

static float sum_of_squares(const float* x, int64_t n) {
  Vec sums[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const Vec v = vec_load(x + i + j * kLanes);
      sums[j] = vec_fma(v, v, sums[j]);
    }
  }
  each_lanes(n - i, [&](int64_t at, auto part) {
    const Vec v = part.load(x + i + at);
    sums[0] = vec_fma(v, v, sums[0]);
  });
  return vec_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static void norm_row(const float* x, int32_t columns, const float* weight, float eps, float* out) {
  const float mean = sum_of_squares(x, columns) / (float)columns;
  const Vec factor = vec_set(1.0f / sqrtf(mean + eps));
  each_lanes(columns, [&](int64_t i, auto part) {
    part.store(out + i, part.load(x + i) * factor * part.load(weight + i));
  });
}

static void rms_norm(const float* x, int64_t ldx, int64_t rows, int32_t columns,
                     const float* weight, float eps, float* out, int64_t ldo) {
  parallel_for(rows, rows_grain(columns), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      norm_row(x + r * ldx, columns, weight, eps, out + r * ldo);
    }
  });
}

static void add_rms_norm(const float* x, int64_t ldx, float* residual, int64_t ldr, int64_t rows,
                         int32_t columns, const float* weight, float eps, float* out,
                         int64_t ldo) {
  parallel_for(rows, rows_grain(columns), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* sum = residual + r * ldr;
      const float* row = x + r * ldx;
      each_lanes(columns, [&](int64_t i, auto part) {
        part.store(sum + i, part.load(sum + i) + part.load(row + i));
      });
      norm_row(sum, columns, weight, eps, out + r * ldo);
    }
  });
}

static void rope(float* x, int64_t ld, int64_t tokens, int32_t heads, int32_t head_dim,
                 const int32_t* positions, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  parallel_for(tokens, rows_grain((int64_t)heads * head_dim), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* c = cos + positions[t] * half;
      const float* s = sin + positions[t] * half;
      for (int32_t h = 0; h < heads; ++h) {
        float* first = x + t * ld + (int64_t)h * head_dim;
        float* second = first + half;
        each_lanes(half, [&](int64_t i, auto part) {
          const Vec a = part.load(first + i), b = part.load(second + i);
          const Vec ci = part.load(c + i), si = part.load(s + i);
          part.store(first + i, a * ci - b * si);
          part.store(second + i, b * ci + a * si);
        });
      }
    }
  });
}

static void silu_mul(const float* x, int64_t ldx, int64_t rows, int32_t half, float* out,
                     int64_t ldo) {
  const Vec one = vec_set(1.0f);
  parallel_for(rows, rows_grain((int64_t)half * 4), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* gate = x + r * ldx;
      const float* up = gate + half;
      float* to = out + r * ldo;
      each_lanes(half, [&](int64_t i, auto part) {
        const Vec g = part.load(gate + i);
        part.store(to + i, g / (one + vec_exp(vec_zero() - g)) * part.load(up + i));
      });
    }
  });
}

static void widen(const void* in, int32_t dtype, int64_t n, float* out) {
  const uint16_t* raw = (const uint16_t*)in;
  if (dtype == kF32) {
    memcpy(out, in, (size_t)n * 4);
  } else if (dtype == kBF16) {
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_float(raw[i]);
  } else {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) vec_store(out + i, halves_to_vec(raw + i));
    for (; i < n; ++i) out[i] = half_to_float(raw[i]);
  }
}

static void narrow(const float* in, int64_t n, int32_t dtype, void* out) {
  uint16_t* raw = (uint16_t*)out;
  if (dtype == kF32) {
    memcpy(out, in, (size_t)n * 4);
  } else if (dtype == kBF16) {
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t bits = float_to_bits(in[i]);
      const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      const uint32_t quiet = (bits >> 16) | 0x40u;
      raw[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
  } else {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) vec_to_halves(raw + i, vec_load(in + i));
    for (; i < n; ++i) raw[i] = float_to_half(in[i]);
  }
}

// One row [k] of a weight in canonical form (kernels/weights.py).
static void grid_row(const uint8_t* codes, const uint16_t* scales, const void* zeros, int32_t k,
                     int32_t group, int32_t bits, int32_t zero_kind, float* out) {
  for (int32_t g = 0; g < k / group; ++g) {
    const float scale = half_to_float(scales[g]);
    float* to = out + (int64_t)g * group;
    if (bits == 8) {
      const int8_t* from = (const int8_t*)codes + (int64_t)g * group;
      for (int32_t i = 0; i < group; ++i) to[i] = scale * (float)from[i];
      continue;
    }
    const float zero = zero_kind == kSymmetric    ? 8.0f
                       : zero_kind == kZeroPoints ? (float)((const uint8_t*)zeros)[g]
                                                  : 0.0f;
    const float offset = zero_kind == kOffsets ? half_to_float(((const uint16_t*)zeros)[g]) : 0.0f;
    const uint8_t* from = codes + (int64_t)g * (group / 2);
    for (int32_t i = 0; i < group / 2; ++i) {
      to[2 * i] = scale * ((float)(from[i] & 15) - zero) + offset;
      to[2 * i + 1] = scale * ((float)(from[i] >> 4) - zero) + offset;
    }
  }
}

static void fill_elementwise(Ops& ops) {
  ops.rms_norm = &rms_norm;
  ops.add_rms_norm = &add_rms_norm;
  ops.rope = &rope;
  ops.silu_mul = &silu_mul;
  ops.widen = &widen;
  ops.narrow = &narrow;
  ops.grid_row = &grid_row;
}
