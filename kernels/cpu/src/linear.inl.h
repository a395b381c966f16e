// Linear layers: packed weights times prepared rows.
// Included inside a level's namespace.
#include "vector.inl.h"
#include "packing.inl.h"
#include "rows.inl.h"

// Rows of x whose sums are held in registers together, by planes.
#if defined(__AVX512VNNI__)
constexpr int kMaxRows1 = 4, kMaxRows2 = 2, kTiles = 4;
#elif defined(__AVX2__)
constexpr int kMaxRows1 = 4, kMaxRows2 = 2, kTiles = 1;
#else
constexpr int kMaxRows1 = 2, kMaxRows2 = 2, kTiles = 1;
#endif
// Rows after which the next tiles are visited: they stay in the second-level cache.
constexpr int64_t kRowBlock = 96;
// Bytes that are requested ahead of their use, per tile.
constexpr int64_t kAhead = 1024;
// Codes times 16-bit activations stay below 2^31 up to these group sizes.
SD_INLINE bool sums_fit(int32_t bits, int32_t group) { return group <= (bits == 4 ? 4096 : 256); }

template <int BITS, int PLANES, int ROWS, int TILES>
static void grid_block(const Matrix& w, const RowsView& v, int64_t row0, const uint8_t* tile0,
                       float (*out)[TILES][kTile]) {
  constexpr bool small = BITS == 4;
  constexpr int step = BITS == 4 ? 8 : 4;  // columns per 64 bytes
  constexpr int32_t middle = BITS == 4 ? 8 : 128;
  const int64_t size = tile_bytes(w), k = v.k, groups = v.groups;
  const int64_t blocks = w.group / step;
  const uint8_t* codes[TILES];
  const uint16_t* scales[TILES];
  const uint8_t* zeros[TILES];
  for (int t = 0; t < TILES; ++t) {
    codes[t] = tile0 + t * size;
    scales[t] = (const uint16_t*)(codes[t] + code_bytes(w.k, BITS));
    zeros[t] = (const uint8_t*)(scales[t] + groups * 16);
  }
  Floats total[ROWS][TILES];
  for (int r = 0; r < ROWS; ++r) {
    for (int t = 0; t < TILES; ++t) total[r][t] = floats_set(0.0f);
  }
  const int64_t stride = k * PLANES;
  const int8_t* x[ROWS];
  for (int r = 0; r < ROWS; ++r) x[r] = v.codes + (row0 + r) * stride;
  const bool exact = sums_fit(BITS, w.group);
  for (int64_t g = 0; g < groups; ++g) {
    // Past the end of these tiles, the tiles that come after them.
    int64_t ahead = g * blocks * 64 + kAhead;
    if (ahead >= size) ahead += (TILES - 1) * size;
    Ints sum[PLANES][ROWS][TILES];
    for (int p = 0; p < PLANES; ++p) {
      for (int r = 0; r < ROWS; ++r) {
        for (int t = 0; t < TILES; ++t) sum[p][r][t] = ints_zero();
      }
    }
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t column = (g * blocks + b) * step * PLANES;
      Codes first[TILES], second[TILES];
      for (int t = 0; t < TILES; ++t) {
        if (ROWS <= 2) prefetch(codes[t] + ahead + b * 64);
        const Codes c = codes_load(codes[t] + (g * blocks + b) * 64);
        first[t] = small ? codes_low(c) : c;
        second[t] = small ? codes_high(c) : c;
      }
      for (int r = 0; r < ROWS; ++r) {
        for (int p = 0; p < PLANES; ++p) {
          const int8_t* four = x[r] + column + 4 * p;
          const Fours low = fours_load(four);
          for (int t = 0; t < TILES; ++t) sum[p][r][t] = dot<small>(sum[p][r][t], first[t], low);
          if (!small) continue;
          const Fours high = fours_load(four + 4 * PLANES);
          for (int t = 0; t < TILES; ++t) sum[p][r][t] = dot<small>(sum[p][r][t], second[t], high);
        }
      }
    }
    for (int t = 0; t < TILES; ++t) {
      const Floats scale = halves_load(scales[t] + g * 16);
      for (int r = 0; r < ROWS; ++r) {
        const int64_t at = (row0 + r) * groups + g;
        const int32_t x_sum = v.sums[at];
        const float x_scale = v.scales[at];
        Floats value;
        if (exact) {
          Ints joined = PLANES == 2 ? join_planes(sum[0][r][t], sum[PLANES - 1][r][t]) : sum[0][r][t];
          if (w.zero_kind == kSymmetric) joined = ints_minus(joined, middle * x_sum);
          value = to_floats(joined);
        } else {
          value = to_floats(sum[0][r][t]);
          if (PLANES == 2) {
            value = floats_fma(value, floats_set(256.0f), to_floats(sum[PLANES - 1][r][t]));
          }
          if (w.zero_kind == kSymmetric) {
            value = floats_add(value, floats_set(-(float)middle * (float)x_sum));
          }
        }
        if (w.zero_kind == kZeroPoints) {
          value = floats_fnma(bytes_load(zeros[t] + g * 16), floats_set((float)x_sum), value);
        }
        const Floats both = floats_mul(scale, floats_set(x_scale));
        total[r][t] = floats_fma(both, value, total[r][t]);
        if (w.zero_kind == kOffsets) {
          total[r][t] = floats_fma(halves_load((const uint16_t*)zeros[t] + g * 16),
                                   floats_set(x_scale * (float)x_sum), total[r][t]);
        }
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int t = 0; t < TILES; ++t) floats_store(out[r][t], total[r][t]);
  }
}

// bits 16 and 32.
template <int BITS, int PLANES, int ROWS, int TILES>
static void dense_block(const Matrix& w, const RowsView& v, int64_t row0, int64_t m,
                        const uint8_t* tile0, float (*out)[TILES][kTile]) {
  const int64_t size = tile_bytes(w), k = v.k;
  Floats total[ROWS][TILES];
  for (int r = 0; r < ROWS; ++r) {
    for (int t = 0; t < TILES; ++t) total[r][t] = floats_set(0.0f);
  }
  const int64_t steps = BITS == 16 ? ceil_div(w.k, 2) : w.k;
  for (int64_t s = 0; s < steps; ++s) {
    for (int t = 0; t < TILES; ++t) {
      const uint8_t* at = tile0 + t * size + s * 64;
      if (ROWS <= 2) prefetch(at + kAhead);
      if (BITS == 32) {
        const Floats c = floats_load((const float*)at);
        for (int r = 0; r < ROWS; ++r) {
          total[r][t] = floats_fma(c, floats_set(v.floats[(row0 + r) * k + s]), total[r][t]);
        }
        continue;
      }
#if defined(__AVX512BF16__)
      const __m512bh c = (__m512bh)codes_load(at);
      for (int r = 0; r < ROWS; ++r) {
        for (int p = 0; p < PLANES; ++p) {
          int32_t pair;
          memcpy(&pair, v.bf16 + (p * m + row0 + r) * k + s * 2, 4);
          total[r][t] = _mm512_dpbf16_ps(total[r][t], c, (__m512bh)_mm512_set1_epi32(pair));
        }
      }
#else
      const Codes c = codes_load(at);
      const Floats even = bf16_even(c), odd = bf16_odd(c);
      for (int r = 0; r < ROWS; ++r) {
        const float* x = v.floats + (row0 + r) * k + s * 2;
        total[r][t] = floats_fma(even, floats_set(x[0]), total[r][t]);
        total[r][t] = floats_fma(odd, floats_set(x[1]), total[r][t]);
      }
#endif
    }
  }
  (void)m;
  for (int r = 0; r < ROWS; ++r) {
    for (int t = 0; t < TILES; ++t) floats_store(out[r][t], total[r][t]);
  }
}

struct Output {
  float* y;
  int64_t ldy;
  const float* bias;
  bool accumulate;
};

template <int BITS, int PLANES, int ROWS, int TILES>
static void block(const Matrix& w, const RowsView& v, int64_t row0, int64_t m, int64_t tile,
                  const Output& o) {
  alignas(64) float out[ROWS][TILES][kTile];
  const uint8_t* tile0 = w.data + tile * tile_bytes(w);
  if constexpr (BITS <= 8) {
    grid_block<BITS, PLANES, ROWS, TILES>(w, v, row0, tile0, out);
  } else {
    dense_block<BITS, PLANES, ROWS, TILES>(w, v, row0, m, tile0, out);
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int t = 0; t < TILES; ++t) {
      const int64_t column = (tile + t) * kTile;
      const int64_t width = min64(kTile, w.n - column);
      float* y = o.y + (row0 + r) * o.ldy + column;
      const float* bias = o.bias ? o.bias + column : nullptr;
      if (width == kTile) {
        Floats value = floats_load(out[r][t]);
        if (bias) value = floats_add(value, floats_load(bias));
        if (o.accumulate) value = floats_add(value, floats_load(y));
        floats_store(y, value);
        continue;
      }
      for (int64_t i = 0; i < width; ++i) {
        const float value = out[r][t][i] + (bias ? bias[i] : 0.0f);
        y[i] = o.accumulate ? y[i] + value : value;
      }
    }
  }
}

// `rows` rows at once over the tiles [begin, end).
template <int BITS, int PLANES, int ROWS>
static void row_block(const Matrix& w, const RowsView& v, int64_t row0, int64_t m, int64_t begin,
                      int64_t end, const Output& o) {
  int64_t tile = begin;
  for (; tile + kTiles <= end; tile += kTiles) {
    block<BITS, PLANES, ROWS, kTiles>(w, v, row0, m, tile, o);
  }
  for (; tile < end; ++tile) block<BITS, PLANES, ROWS, 1>(w, v, row0, m, tile, o);
}

template <int BITS, int PLANES, int ROWS>
static void row_block_of(int64_t rows, const Matrix& w, const RowsView& v, int64_t row0, int64_t m,
                         int64_t begin, int64_t end, const Output& o) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS) {
      row_block<BITS, PLANES, ROWS>(w, v, row0, m, begin, end, o);
    } else {
      row_block_of<BITS, PLANES, ROWS - 1>(rows, w, v, row0, m, begin, end, o);
    }
  }
}

template <int BITS, int PLANES>
static void matrix_tiles(const Matrix& w, const RowsView& v, int64_t m, const Output& o,
                         int64_t begin, int64_t end) {
  constexpr int most = PLANES == 2 ? kMaxRows2 : kMaxRows1;
  for (int64_t start = 0; start < m; start += kRowBlock) {
    const int64_t stop = min64(start + kRowBlock, m);
    for (int64_t tile = begin; tile < end; tile += kTiles) {
      const int64_t last = min64(tile + kTiles, end);
      for (int64_t row = start; row < stop;) {
        // Even shares: 9 rows go as 5 and 4, not as 8 and 1.
        const int64_t rows = ceil_div(stop - row, ceil_div(stop - row, most));
        row_block_of<BITS, PLANES, most>(rows, w, v, row, m, tile, last, o);
        row += rows;
      }
    }
  }
}

static void matrix_product(const Matrix& w, const RowsView& v, int64_t m, const Output& o,
                           int64_t begin, int64_t end) {
  if (w.bits == 4) {
    v.planes == 2 ? matrix_tiles<4, 2>(w, v, m, o, begin, end)
                  : matrix_tiles<4, 1>(w, v, m, o, begin, end);
  } else if (w.bits == 8) {
    v.planes == 2 ? matrix_tiles<8, 2>(w, v, m, o, begin, end)
                  : matrix_tiles<8, 1>(w, v, m, o, begin, end);
  } else if (w.bits == 16) {
    v.planes == 2 ? matrix_tiles<16, 2>(w, v, m, o, begin, end)
                  : matrix_tiles<16, 1>(w, v, m, o, begin, end);
  } else {
    matrix_tiles<32, 1>(w, v, m, o, begin, end);
  }
}

static void linear_tiles(const Linear& layer, const void* rows, int64_t m, float* y, int64_t ldy,
                         bool accumulate, int64_t begin, int64_t end) {
  const RowsView main = rows_view(layer.main, layer.activation_bits, m, rows);
  matrix_product(layer.main, main, m, Output{y, ldy, layer.bias, accumulate}, begin, end);
  if (layer.tail.n) {
    const RowsView tail = rows_view(layer.tail, 8, m, (const uint8_t*)rows + main.bytes);
    matrix_product(layer.tail, tail, m, Output{y, ldy, nullptr, true}, begin, end);
  }
}

static void linear_prepared(const Linear& layer, const void* rows, int64_t m, float* y,
                            int64_t ldy, bool accumulate) {
  const int64_t tiles = ceil_div(layer.main.n, kTile);
  constexpr int64_t unit = kTiles;
  parallel_for(ceil_div(tiles, unit), 1, [&](int64_t begin, int64_t end, int) {
    linear_tiles(layer, rows, m, y, ldy, accumulate, begin * unit, min64(end * unit, tiles));
  });
}

static void fill_linear(Ops& ops) {
  ops.matrix_bytes = matrix_bytes;
  ops.pack_matrix = pack_matrix;
  ops.matrix_row = matrix_row;
  ops.rows_bytes = rows_bytes;
  ops.prepare_rows = prepare_rows;
  ops.linear_tiles = linear_tiles;
  ops.linear_prepared = linear_prepared;
}
