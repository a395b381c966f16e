// Linear layers: packed weights times prepared rows.
// Included inside a level's namespace.
#include "vector.inl.h"
#include "packing.inl.h"
#include "rows.inl.h"

// Rows of x whose sums are held in registers together, by planes.
#if defined(__AVX512VNNI__)
constexpr int kMaxRows1 = 6, kMaxRows2 = 3, kTiles = 4;
#elif defined(__AVX2__)
constexpr int kMaxRows1 = 4, kMaxRows2 = 2, kTiles = 1;
#else
constexpr int kMaxRows1 = 2, kMaxRows2 = 2, kTiles = 1;
#endif
// Rows after which the next tiles are visited: they stay in the second-level cache.
constexpr int64_t kRowBlock = 96;
// Bytes that are requested ahead of their use, per tile.
constexpr int64_t kAhead = 2048;
// total[r][t]: the sums of row row0 + r over tile t, which lie in memory so that the registers hold
// what one group adds.
template <int BITS, int PLANES, int ROWS, int TILES>
static SD_NOINLINE void grid_block(const Matrix& w, const RowsView& v, int64_t row0,
                                   const uint8_t* tile0, float (*total)[TILES][kTile]) {
  constexpr bool small = BITS == 4;
  constexpr int step = small ? 8 : 4;  // columns per 64 bytes
  constexpr int last = PLANES - 1;
  const int64_t size = tile_bytes(w), groups = v.groups, blocks = w.group / step;
  const uint8_t* codes[TILES];
  SD_UNROLL for (int t = 0; t < TILES; ++t) codes[t] = tile0 + t * size;
  const int8_t* x[ROWS];
  SD_UNROLL for (int r = 0; r < ROWS; ++r) {
    x[r] = v.codes + (row0 + r) * v.k * PLANES;
    SD_UNROLL for (int t = 0; t < TILES; ++t) floats_store(total[r][t], floats_set(0.0f));
  }
  const int64_t scales = code_bytes(w.k, BITS), zeros = scales + groups * 32;
  const bool exact = sums_fit(BITS, w.group);
  const bool shifted = exact && w.zero_kind == kSymmetric;
  // The first rows of a stretch find the tiles in memory, the others in a cache.
  const bool first = row0 % kRowBlock == 0;
  for (int64_t g = 0; g < groups; ++g) {
    if (first) {
      SD_UNROLL for (int t = 0; t < TILES; ++t) {
        prefetch(codes[t] + TILES * size + scales + g * (size - scales) / groups);
      }
    }
    Ints sum[PLANES][ROWS][TILES];
    SD_UNROLL for (int r = 0; r < ROWS; ++r) {
      const Ints start = ints_set(shifted ? v.shifts[(row0 + r) * groups + g] : 0);
      SD_UNROLL for (int t = 0; t < TILES; ++t) {
        sum[0][r][t] = ints_set(0);
        sum[last][r][t] = start;
      }
    }
    for (int64_t b = g * blocks; b < (g + 1) * blocks; ++b) {
      if (first) {
        // Past the end of these tiles' codes, those of the tiles that come after them.
        const int64_t ahead = b * 64 + kAhead;
        const int64_t at = ahead < scales ? ahead : ahead - scales + TILES * size;
        SD_UNROLL for (int t = 0; t < TILES; ++t) prefetch(codes[t] + at);
      }
      SD_UNROLL for (int half = 0; half < (small ? 2 : 1); ++half) {
        Codes c[TILES];
        SD_UNROLL for (int t = 0; t < TILES; ++t) {
          const Codes both = codes_load(again(codes[t]) + b * 64);
          c[t] = !small ? both : half == 0 ? codes_low(both) : codes_high(both);
        }
        SD_UNROLL for (int r = 0; r < ROWS; ++r) {
          SD_UNROLL for (int p = 0; p < PLANES; ++p) {
            const Fours four = fours_load(x[r] + (b * step + 4 * half) * PLANES + 4 * p);
            SD_UNROLL for (int t = 0; t < TILES; ++t) {
              sum[p][r][t] = dot<small>(sum[p][r][t], c[t], four);
            }
          }
        }
      }
    }
    SD_UNROLL for (int t = 0; t < TILES; ++t) {
      const Floats scale = halves_load((const uint16_t*)(codes[t] + scales) + g * 16);
      Floats zero = floats_set(0.0f);
      if (w.zero_kind == kZeroPoints) zero = bytes_load(codes[t] + zeros + g * 16);
      if (w.zero_kind == kOffsets) zero = halves_load((const uint16_t*)(codes[t] + zeros) + g * 16);
      SD_UNROLL for (int r = 0; r < ROWS; ++r) {
        const int64_t at = (row0 + r) * groups + g;
        Floats value;
        if (exact) {
          const Ints low = sum[last][r][t];
          value = to_floats(PLANES == 2 ? join_planes(sum[0][r][t], low) : low);
        } else {
          value = to_floats(sum[0][r][t]);
          if (PLANES == 2) {
            value = floats_fma(value, floats_set(256.0f), to_floats(sum[last][r][t]));
          }
          if (w.zero_kind == kSymmetric) value = floats_add(value, floats_set(v.offsets[at]));
        }
        Floats all = floats_load(total[r][t]);
        if (w.zero_kind == kZeroPoints) value = floats_fma(zero, floats_set(v.offsets[at]), value);
        if (w.zero_kind == kOffsets) all = floats_fma(zero, floats_set(v.offsets[at]), all);
        all = floats_fma(floats_mul(scale, floats_set(v.scales[at])), value, all);
        floats_store(total[r][t], all);
      }
    }
  }
}

// bits 16 and 32.
template <int BITS, int PLANES, int ROWS, int TILES>
static SD_NOINLINE void dense_block(const Matrix& w, const RowsView& v, int64_t row0, int64_t m,
                        const uint8_t* tile0, float (*out)[TILES][kTile]) {
  const int64_t size = tile_bytes(w), k = v.k;
  Floats total[ROWS][TILES];
  SD_UNROLL for (int r = 0; r < ROWS; ++r) {
    SD_UNROLL for (int t = 0; t < TILES; ++t) total[r][t] = floats_set(0.0f);
  }
  const int64_t steps = BITS == 16 ? ceil_div(w.k, 2) : w.k;
  for (int64_t s = 0; s < steps; ++s) {
    SD_UNROLL for (int t = 0; t < TILES; ++t) {
      const uint8_t* at = tile0 + t * size + s * 64;
      if (ROWS <= 2) prefetch(at + kAhead);
      if (BITS == 32) {
        const Floats c = floats_load((const float*)at);
        SD_UNROLL for (int r = 0; r < ROWS; ++r) {
          total[r][t] = floats_fma(c, floats_set(v.floats[(row0 + r) * k + s]), total[r][t]);
        }
        continue;
      }
#if defined(__AVX512BF16__)
      const __m512bh c = (__m512bh)codes_load(at);
      SD_UNROLL for (int r = 0; r < ROWS; ++r) {
        SD_UNROLL for (int p = 0; p < PLANES; ++p) {
          int32_t pair;
          memcpy(&pair, v.bf16 + (p * m + row0 + r) * k + s * 2, 4);
          total[r][t] = _mm512_dpbf16_ps(total[r][t], c, (__m512bh)_mm512_set1_epi32(pair));
        }
      }
#else
      const Codes c = codes_load(at);
      const Floats even = bf16_even(c), odd = bf16_odd(c);
      SD_UNROLL for (int r = 0; r < ROWS; ++r) {
        const float* x = v.floats + (row0 + r) * k + s * 2;
        total[r][t] = floats_fma(even, floats_set(x[0]), total[r][t]);
        total[r][t] = floats_fma(odd, floats_set(x[1]), total[r][t]);
      }
#endif
    }
  }
  (void)m;
  SD_UNROLL for (int r = 0; r < ROWS; ++r) {
    SD_UNROLL for (int t = 0; t < TILES; ++t) floats_store(out[r][t], total[r][t]);
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

static void linear_ahead(const Linear& layer) {
  const int64_t units = ceil_div(ceil_div(layer.main.n, kTile), kTiles);
  parallel_ahead(units, layer.main.data, kTiles * tile_bytes(layer.main));
}

static void fill_linear(Ops& ops) {
  ops.matrix_bytes = matrix_bytes;
  ops.pack_matrix = pack_matrix;
  ops.matrix_row = matrix_row;
  ops.rows_bytes = rows_bytes;
  ops.prepare_rows = prepare_rows;
  ops.linear_tiles = linear_tiles;
  ops.linear_prepared = linear_prepared;
  ops.linear_ahead = linear_ahead;
}
