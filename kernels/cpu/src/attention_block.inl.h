// Attention of a block of queries: keys and values of a stretch become floats once and are
// multiplied with all queries and heads of the block, one query per lane.
// Included inside a level's namespace.

namespace attention {

#if defined(__AVX512VNNI__)
constexpr int kDeep = 8, kWide = 3;  // rows and vectors of a product that are held in registers
#elif defined(__AVX2__)
constexpr int kDeep = 4, kWide = 3;
#else
constexpr int kDeep = 4, kWide = 2;
#endif

// c [ROWS, WIDE vectors] (stride ldc) = or += sum over k of a[i * row + k * column] * b[k, ...].
template <int ROWS, int WIDE>
static void multiply_tile(const float* a, int64_t row, int64_t column, const float* b, int64_t ldb,
                          int64_t depth, float* c, int64_t ldc, bool add) {
  Vec sums[ROWS][WIDE];
  for (int i = 0; i < ROWS; ++i) {
    for (int j = 0; j < WIDE; ++j) {
      sums[i][j] = add ? vec_load(c + i * ldc + j * kLanes) : vec_zero();
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[WIDE];
    for (int j = 0; j < WIDE; ++j) right[j] = vec_load(b + k * ldb + j * kLanes);
    for (int i = 0; i < ROWS; ++i) {
      const Vec left = vec_set(a[i * row + k * column]);
      for (int j = 0; j < WIDE; ++j) sums[i][j] = vec_fma(left, right[j], sums[i][j]);
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    for (int j = 0; j < WIDE; ++j) vec_store(c + i * ldc + j * kLanes, sums[i][j]);
  }
}

template <int WIDE>
static void multiply_columns(const float* a, int64_t row, int64_t column, int64_t rows,
                             const float* b, int64_t ldb, int64_t depth, float* c, int64_t ldc,
                             bool add) {
  int64_t i = 0;
  for (; i + kDeep <= rows; i += kDeep) {
    multiply_tile<kDeep, WIDE>(a + i * row, row, column, b, ldb, depth, c + i * ldc, ldc, add);
  }
  for (; i < rows; ++i) {
    multiply_tile<1, WIDE>(a + i * row, row, column, b, ldb, depth, c + i * ldc, ldc, add);
  }
}

// As multiply_tile, for any number of rows and a multiple of kLanes columns.
static void multiply(const float* a, int64_t row, int64_t column, int64_t rows, const float* b,
                     int64_t ldb, int64_t depth, float* c, int64_t ldc, int64_t columns, bool add) {
  int64_t j = 0;
  for (; j + kWide * kLanes <= columns; j += kWide * kLanes) {
    multiply_columns<kWide>(a, row, column, rows, b + j, ldb, depth, c + j, ldc, add);
  }
  for (; j < columns; j += kLanes) {
    multiply_columns<1>(a, row, column, rows, b + j, ldb, depth, c + j, ldc, add);
  }
}

// Positions [begin, begin + n) of one key head as floats [n, head_dim].
static void read_rows(const Call& call, int64_t b, int64_t head, int64_t begin, int64_t n,
                      const void* data, const uint16_t* params, float* to) {
  const int64_t dim = call.cache.head_dim;
  each_run(call, b, head, begin, n, [&](int64_t i, int64_t row, int64_t run) {
    for (int64_t j = 0; j < run; ++j) {
      float scale = 1.0f, minimum = 0.0f;
      if (params) {
        scale = half_to_float(params[(row + j) * 2]);
        minimum = half_to_float(params[(row + j) * 2 + 1]);
      }
      row_to_floats(call.cache.bits, (const uint8_t*)data + (row + j) * call.row_bytes, dim, scale,
                    minimum, to + (i + j) * dim);
    }
  });
}

static bool all_finite(const float* x, int64_t n) {
  Vec odd = vec_zero();
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec v = part.load(x + i);
    odd = odd + (v - v);
  });
  return !vec_any_nonzero(odd);
}

// One block of queries of sequence b with the heads that share a key head (or 48 of them).
static void block_item(const Call& call, int64_t b, int64_t item) {
  const KVCacheView& cache = call.cache;
  const float infinity = __builtin_inff();
  const int64_t dim = cache.head_dim, context = call.contexts[b];
  const int64_t queries = call.indptr[b + 1] - call.indptr[b];
  const int64_t per_block = queries_per_block(call.group);
  const int64_t head_parts = cache.kv_heads * head_blocks(call.group);
  // The longest contexts first.
  const int64_t block = ceil_div(queries, per_block) - 1 - item / head_parts;
  const int64_t head = item % head_parts / head_blocks(call.group);
  const int64_t first_head = item % head_blocks(call.group) * kQueries;
  const int64_t heads = min64(kQueries, call.group - first_head);
  const int64_t first = block * per_block, count = min64(per_block, queries - first);
  const int64_t used = count * heads, columns = round_up(used, kLanes);
  alignas(64) float q[kMaxHeadDim * kQueries];     // [dim, columns]
  alignas(64) float sums[kMaxHeadDim * kQueries];  // [dim, columns]
  alignas(64) float rows[kBlockKeys * kMaxHeadDim];
  alignas(64) float scores[kBlockKeys * kQueries];  // [keys, columns]
  alignas(64) float visible[kQueries], highest[kQueries], total[kQueries];
  const auto position = [&](int64_t column) {  // of its first number in a row of heads
    return (head * call.group + first_head + column % heads) * dim;
  };
  const auto token = [&](int64_t column) { return call.indptr[b] + first + column / heads; };
  for (int64_t c = 0; c < columns; ++c) {
    const float* from = call.q + token(min64(c, used - 1)) * call.ldq + position(c);
    for (int64_t d = 0; d < dim; ++d) {
      q[d * columns + c] = c < used ? from[d] * call.scale : 0.0f;
      sums[d * columns + c] = 0.0f;
    }
    visible[c] = (float)(context - queries + first + min64(c, used - 1) / heads + 1);
    highest[c] = -infinity;
    total[c] = 0.0f;
  }
  const int64_t shortest = context - queries + first + 1, longest = shortest + count - 1;
  for (int64_t begin = 0; begin < longest; begin += kBlockKeys) {
    const int64_t n = min64(kBlockKeys, longest - begin);
    read_rows(call, b, head, begin, n, cache.keys, cache.key_params, rows);
    multiply(rows, dim, 1, n, q, columns, dim, scores, columns, columns, false);
    bool rescale = false;
    alignas(64) float factors[kQueries];
    for (int64_t c = 0; c < columns; c += kLanes) {
      if (begin + n > shortest) {
        const Vec limit = vec_load(visible + c), none = vec_set(-infinity);
        for (int64_t t = max64(0, shortest - begin); t < n; ++t) {
          float* at = scores + t * columns + c;
          vec_store(at, vec_choose(limit, vec_set((float)(begin + t)), vec_load(at), none));
        }
      }
      const Vec before = vec_load(highest + c);
      Vec high = before;
      for (int64_t t = 0; t < n; ++t) high = maximum(high, vec_load(scores + t * columns + c));
      Vec sum = vec_zero();
      for (int64_t t = 0; t < n; ++t) {
        const Vec weight = vec_exp(vec_load(scores + t * columns + c) - high);
        vec_store(scores + t * columns + c, weight);
        sum = sum + weight;
      }
      const Vec factor = vec_exp(before - high);
      vec_store(highest + c, high);
      vec_store(total + c, vec_fma(vec_load(total + c), factor, sum));
      vec_store(factors + c, factor);
      rescale = rescale || vec_any_nonzero(factor - vec_set(1.0f));
    }
    if (rescale && begin > 0) {
      for (int64_t d = 0; d < dim; ++d) {
        for (int64_t c = 0; c < columns; c += kLanes) {
          float* at = sums + d * columns + c;
          vec_store(at, vec_load(at) * vec_load(factors + c));
        }
      }
    }
    read_rows(call, b, head, begin, n, cache.values, cache.value_params, rows);
    for (int64_t t = max64(0, shortest - begin); t < n; ++t) {
      float* value = rows + t * dim;
      if (all_finite(value, dim)) continue;
      // 0 times a value that a query may not see would be NaN: only those that see it get it.
      for (int64_t c = 0; c < used; ++c) {
        if (visible[c] <= (float)(begin + t)) continue;
        const float weight = scores[t * columns + c];
        for (int64_t d = 0; d < dim; ++d) sums[d * columns + c] += weight * value[d];
      }
      for (int64_t d = 0; d < dim; ++d) value[d] = 0.0f;
    }
    multiply(rows, 1, dim, dim, scores, columns, n, sums, columns, columns, true);
  }
  for (int64_t c = 0; c < used; ++c) {
    float* to = call.out + token(c) * call.ldo + position(c);
    const float factor = 1.0f / total[c];
    for (int64_t d = 0; d < dim; ++d) to[d] = sums[d * columns + c] * factor;
  }
}

}  // namespace attention
