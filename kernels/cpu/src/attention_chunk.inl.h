// Attention of few queries: one chunk of the context at a time, keys and values unpacked in
// registers; the results of a sequence's chunks are joined by whoever ends the last of them.
// Included inside a level's namespace.

namespace attention {

constexpr int kKeys = 4;  // keys whose scores are computed together
constexpr int kVecs = 4;  // vectors of a value row that are summed together
#if defined(__AVX512VNNI__)
constexpr int kRows = 4;  // rows of queries that are computed together
#else
constexpr int kRows = 2;
#endif

// Rows of a chunk in the cache, and those of the keys that are needed after it.
struct Rows {
  const uint8_t* keys[kChunk + kKeys];
  const uint8_t* values[kChunk];
  const uint8_t* next[kChunk];
};

// Scales and minima of rows that lie together, as floats.
static void read_params(const uint16_t* from, int64_t count, float* scales, float* minima) {
  float both[2 * kChunk];
  int64_t i = 0;
  for (; i + kLanes <= 2 * count; i += kLanes) vec_store(both + i, halves_to_vec(from + i));
  for (; i < 2 * count; ++i) both[i] = half_to_float(from[i]);
  for (i = 0; i < count; ++i) {
    scales[i] = both[2 * i];
    minima[i] = both[2 * i + 1];
  }
}

// To the second-level cache: the first could not hold it until its use.
SD_INLINE void prefetch_row(const uint8_t* row, int64_t bytes) {
#if defined(__AVX2__)
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch((const char*)row + i, _MM_HINT_T1);
#else
  (void)row;
  (void)bytes;
#endif
}

// scores [ROWS, kChunk] = rows of q [ROWS, padded] times n keys. Requests `prefetched` bytes of
// each row of values.
template <int BITS, int ROWS>
static void score_keys(const Rows& rows, int64_t n, int64_t dim, const float* q, int64_t padded,
                       int64_t prefetched, float* scores) {
  typedef Reader<BITS> R;
  constexpr int step = kStep<BITS>, bytes = kStepBytes<BITS>;
  const int64_t whole = dim / step, rest = dim % step;
  for (int64_t t = 0; t < n; t += kKeys) {
    const uint8_t* const* at = rows.keys + t;
    if (prefetched) {
      for (int64_t j = t; j < min64(t + kKeys, n); ++j) prefetch_row(rows.values[j], prefetched);
    }
    Vec sums[ROWS][kKeys];
    for (int r = 0; r < ROWS; ++r) {
      for (int j = 0; j < kKeys; ++j) sums[r][j] = vec_zero();
    }
    const auto add = [&](const typename R::Raw (&raw)[kKeys], int64_t s) {
      const float* qs = q + s * step;
      for (int r = 0; r < ROWS; ++r) {
        const Vec v = vec_load(qs + r * padded);
        for (int j = 0; j < kKeys; ++j) {
          sums[r][j] = vec_fma(R::template get<0>(raw[j]), v, sums[r][j]);
        }
      }
      if (R::kPair == 2) {
        for (int r = 0; r < ROWS; ++r) {
          const Vec v = vec_load(qs + r * padded + kLanes);
          for (int j = 0; j < kKeys; ++j) {
            sums[r][j] = vec_fma(R::template get<1>(raw[j]), v, sums[r][j]);
          }
        }
      }
    };
    typename R::Raw raw[kKeys];
    for (int64_t s = 0; s < whole; ++s) {
      for (int j = 0; j < kKeys; ++j) raw[j] = R::load(at[j] + s * bytes);
      add(raw, s);
    }
    if (rest) {
      for (int j = 0; j < kKeys; ++j) raw[j] = load_first<BITS>(at[j] + whole * bytes, rest);
      add(raw, whole);
    }
    for (int r = 0; r < ROWS; ++r) {
      store_sums(scores + r * kChunk + t, sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
    }
  }
}

// STEPS steps of sums [ROWS, padded], from step `at` = weights [ROWS, kChunk] times n values.
// Requests `prefetched` bytes of each row of the next keys.
template <int BITS, int ROWS, int STEPS, bool REST>
static void sum_steps(const Rows& rows, int64_t n, const float* weights, int64_t at, int64_t rest,
                      float* sums, int64_t padded, int64_t prefetched) {
  typedef Reader<BITS> R;
  constexpr int pair = R::kPair;
  Vec total[ROWS][STEPS][pair];
  for (int r = 0; r < ROWS; ++r) {
    for (int s = 0; s < STEPS; ++s) {
      for (int e = 0; e < pair; ++e) total[r][s][e] = vec_zero();
    }
  }
  for (int64_t t = 0; t < n; ++t) {
    const uint8_t* row = rows.values[t] + at * kStepBytes<BITS>;
    if (prefetched) prefetch_row(rows.next[t], prefetched);
    Vec w[ROWS];
    for (int r = 0; r < ROWS; ++r) w[r] = vec_set(weights[r * kChunk + t]);
    for (int s = 0; s < STEPS; ++s) {
      const typename R::Raw raw =
          REST ? load_first<BITS>(row, rest) : R::load(row + s * kStepBytes<BITS>);
      const Vec first = R::template get<0>(raw);
      for (int r = 0; r < ROWS; ++r) total[r][s][0] = vec_fma(first, w[r], total[r][s][0]);
      if (pair == 2) {
        const Vec second = R::template get<pair - 1>(raw);
        for (int r = 0; r < ROWS; ++r) {
          total[r][s][pair - 1] = vec_fma(second, w[r], total[r][s][pair - 1]);
        }
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int s = 0; s < STEPS; ++s) {
      for (int e = 0; e < pair; ++e) {
        vec_store(sums + r * padded + (at + s) * kStep<BITS> + e * kLanes, total[r][s][e]);
      }
    }
  }
}

template <int BITS, int ROWS>
static void sum_values(const Rows& rows, int64_t n, int64_t dim, const float* weights, float* sums,
                       int64_t padded, int64_t prefetched) {
  constexpr int steps = kVecs / Reader<BITS>::kPair, step = kStep<BITS>;
  const int64_t whole = dim / step, rest = dim % step;
  int64_t s = 0;
  for (; s + steps <= whole; s += steps) {
    sum_steps<BITS, ROWS, steps, false>(rows, n, weights, s, 0, sums, padded, s ? 0 : prefetched);
  }
  for (; s < whole; ++s) {
    sum_steps<BITS, ROWS, 1, false>(rows, n, weights, s, 0, sums, padded, s ? 0 : prefetched);
  }
  if (rest) {
    sum_steps<BITS, ROWS, 1, true>(rows, n, weights, s, rest, sums, padded, s ? 0 : prefetched);
  }
}

// What one chunk of a context says to one row of queries.
struct RowResult {
  float highest;  // score
  float total;    // of the weights e^(score - highest)
  float offset;   // to be added to every sum
};

// Scores [n] to the weights of values.
static RowResult weigh(float* scores, int64_t n, bool grid, float q_sum, const float* key_params,
                       const float* value_params) {
  const float infinity = __builtin_inff();
  Vec high = vec_set(-infinity);
  if (grid) {
    const Vec sum = vec_set(q_sum);
    each_lanes(n, [&](int64_t t, auto part) {
      const Vec minimum = part.load(key_params + kChunk + t);
      const Vec score = vec_fma(part.load(scores + t), part.load(key_params + t), sum * minimum);
      part.store(scores + t, score);
    });
  }
  each_lanes(n, [&](int64_t t, auto part) {
    high = maximum(high, part.load(scores + t, -infinity));
  });
  const float highest = vec_max(high);
  const Vec shift = vec_set(highest);
  Vec total = vec_zero(), offset = vec_zero();
  each_lanes(n, [&](int64_t t, auto part) {
    const Vec weight = vec_exp(part.load(scores + t, -infinity) - shift);
    total = total + weight;
    if (grid) {
      offset = vec_fma(weight, part.load(value_params + kChunk + t), offset);
      part.store(scores + t, weight * part.load(value_params + t));
    } else {
      part.store(scores + t, weight);
    }
  });
  return {highest, vec_sum(total), vec_sum(offset)};
}

SD_INLINE int64_t result_size(const Call& call) { return call.padded + 2; }

SD_INLINE float* out_row(const Call& call, int64_t b, int64_t head, int64_t row) {
  return call.out + (call.indptr[b] + row / call.group) * call.ldo +
         (head * call.group + row % call.group) * call.cache.head_dim;
}

// Rows [row, row + ROWS) of sequence b at one key head, against positions [begin, begin + n).
template <int BITS, int ROWS>
static void chunk_rows(const Call& call, int64_t b, int64_t head, int64_t row, const Rows& rows,
                       int64_t begin, int64_t n, int64_t prefetched, const float* key_params,
                       const float* value_params, int64_t context, int64_t queries,
                       float* results) {
  const int64_t dim = call.cache.head_dim, padded = call.padded;
  alignas(64) float q[ROWS * (kMaxHeadDim + kStep<BITS>)];
  alignas(64) float scores[ROWS * kChunk];
  alignas(64) float sums[ROWS * (kMaxHeadDim + kStep<BITS>)];
  float q_sum[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    const int64_t query = (row + r) / call.group, h = head * call.group + (row + r) % call.group;
    const float* from = call.q + (call.indptr[b] + query) * call.ldq + h * dim;
    q_sum[r] = to_reading_order<BITS>(from, dim, padded, call.scale, q + r * padded);
  }
  score_keys<BITS, ROWS>(rows, n, dim, q, padded, prefetched, scores);
  RowResult result[ROWS];
  int64_t visible[ROWS];
  bool all = true;
  for (int r = 0; r < ROWS; ++r) {
    const int64_t length = context - queries + (row + r) / call.group + 1;
    visible[r] = max64(0, min64(n, length - begin));
    all = all && visible[r] == n;
    result[r] = {0.0f, 0.0f, 0.0f};
    // Otherwise the chunk is left out when results are joined.
    if (visible[r] > 0) {
      result[r] = weigh(scores + r * kChunk, visible[r], BITS != 16, q_sum[r], key_params,
                        value_params);
    }
  }
  float* to = results ? results + row * result_size(call) : sums;
  const int64_t stride = results ? result_size(call) : padded;
  if (all) {
    sum_values<BITS, ROWS>(rows, n, dim, scores, to, stride, prefetched);
  } else {
    // 0 times a value that a row may not see would be NaN if that value is.
    for (int r = 0; r < ROWS; ++r) {
      sum_values<BITS, 1>(rows, visible[r], dim, scores + r * kChunk, to + r * stride, stride, 0);
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    if (results) {
      float* sum = to + r * stride;
      for (int64_t i = 0; i < padded; ++i) sum[i] += result[r].offset;
      sum[padded] = result[r].highest;
      sum[padded + 1] = result[r].total;
    } else {
      from_reading_order<BITS>(to + r * stride, dim, result[r].offset, 1.0f / result[r].total,
                               out_row(call, b, head, row + r));
    }
  }
}

// Joins the chunks of one key head of sequence b.
template <int BITS>
static void join_chunks(const Call& call, int64_t b, int64_t head, int64_t rows, int64_t context,
                        int64_t queries) {
  const int64_t size = result_size(call), padded = call.padded;
  const int64_t chunk_stride = call.cache.kv_heads * rows * size;
  alignas(64) float sums[kMaxHeadDim + kStep<BITS>];
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t chunks = ceil_div(context - queries + row / call.group + 1, kChunk);
    const float* results = call.results + call.partials[b] + (head * rows + row) * size;
    float highest = results[padded];
    for (int64_t c = 1; c < chunks; ++c) {
      const float other = results[c * chunk_stride + padded];
      highest = highest > other ? highest : other;
    }
    float total = 0.0f;
    for (int64_t i = 0; i < padded; i += kLanes) vec_store(sums + i, vec_zero());
    for (int64_t c = 0; c < chunks; ++c) {
      const float* result = results + c * chunk_stride;
      const Vec factor = vec_exp(vec_set(result[padded] - highest));
      total += result[padded + 1] * factor[0];
      for (int64_t i = 0; i < padded; i += kLanes) {
        vec_store(sums + i, vec_fma(vec_load(result + i), factor, vec_load(sums + i)));
      }
    }
    from_reading_order<BITS>(sums, call.cache.head_dim, 0.0f, 1.0f / total,
                             out_row(call, b, head, row));
  }
}

// The keys of the work item that most likely follows, n of them; requests its scales and minima.
static void find_next(const Call& call, int64_t b, int64_t head, int64_t begin, int64_t n,
                      Rows& rows) {
  const KVCacheView& cache = call.cache;
  int64_t count = n;
  if (++head == cache.kv_heads) {
    head = 0;
    begin += n;
    if (begin == call.contexts[b]) {
      ++b;
      begin = 0;
    }
    const bool any = b < call.batch && call.indptr[b + 1] > call.indptr[b];
    count = any ? min64(n, call.contexts[b] - begin) : 0;
  }
  each_run(call, b, head, begin, count, [&](int64_t i, int64_t row, int64_t run) {
    const uint8_t* keys = (const uint8_t*)cache.keys + row * call.row_bytes;
    for (int64_t j = 0; j < run; ++j) rows.next[i + j] = keys + j * call.row_bytes;
    if (cache.bits != 16) {
      prefetch_row((const uint8_t*)(cache.key_params + row * 2), run * 4);
      prefetch_row((const uint8_t*)(cache.value_params + row * 2), run * 4);
    }
  });
  for (int64_t i = count; i < n; ++i) rows.next[i] = rows.keys[i];
}

// One chunk of the context of sequence b at one key head, for all its rows.
template <int BITS>
static void chunk_item(const Call& call, int64_t b, int64_t item) {
  const KVCacheView& cache = call.cache;
  const int64_t context = call.contexts[b], queries = call.indptr[b + 1] - call.indptr[b];
  const int64_t count = queries * call.group, chunks = ceil_div(context, kChunk);
  // Heads of a chunk one after the other: their rows are neighbours.
  const int64_t head = item % cache.kv_heads, chunk = item / cache.kv_heads;
  const int64_t begin = chunk * kChunk, n = min64(kChunk, context - begin);
  Rows rows;
  alignas(64) float key_params[2 * kChunk], value_params[2 * kChunk];
  each_run(call, b, head, begin, n, [&](int64_t i, int64_t row, int64_t run) {
    const uint8_t* keys = (const uint8_t*)cache.keys + row * call.row_bytes;
    const uint8_t* values = (const uint8_t*)cache.values + row * call.row_bytes;
    for (int64_t j = 0; j < run; ++j) {
      rows.keys[i + j] = keys + j * call.row_bytes;
      rows.values[i + j] = values + j * call.row_bytes;
    }
    if (BITS != 16) {
      read_params(cache.key_params + row * 2, run, key_params + i, key_params + kChunk + i);
      read_params(cache.value_params + row * 2, run, value_params + i, value_params + kChunk + i);
    }
  });
  for (int64_t i = n; i < round_up(n, kKeys); ++i) rows.keys[i] = rows.keys[n - 1];
  find_next(call, b, head, begin, n, rows);
  float* results = nullptr;
  if (chunks > 1) {
    results = call.results + call.partials[b] +
              (chunk * cache.kv_heads + head) * count * result_size(call);
  }
  const int64_t parts = ceil_div(count, kRows);
  for (int64_t row = 0, part = 0; part < parts; ++part) {
    const int64_t size = ceil_div(count - row, parts - part);
    const auto run = [&](auto rows_of) {
      chunk_rows<BITS, decltype(rows_of)::value>(
          call, b, head, row, rows, begin, n, part == 0 ? call.row_bytes : 0, key_params,
          value_params, context, queries, results);
    };
    if (size == 1) run(std::integral_constant<int, 1>{});
    if (size == 2) run(std::integral_constant<int, 2>{});
    if constexpr (kRows > 2) {
      if (size == 3) run(std::integral_constant<int, 3>{});
      if (size == 4) run(std::integral_constant<int, 4>{});
    }
    row += size;
  }
  if (chunks > 1) {
    int32_t* pending = call.pending + b * cache.kv_heads + head;
    if (__atomic_sub_fetch(pending, 1, __ATOMIC_ACQ_REL) == 0) {
      join_chunks<BITS>(call, b, head, count, context, queries);
    }
  }
}

}  // namespace attention
