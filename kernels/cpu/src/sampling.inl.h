// Tokens from logits by inverting the distribution function at drawn numbers.
// Sums are in double over blocks of fixed length, so no result depends on the number of threads.
// Included inside a level's namespace.

namespace sampling {

constexpr int64_t kBlock = 1024;

// The largest of n logits; NaN if one is NaN.
static float block_max(const float* x, int64_t n) {
  const float infinity = __builtin_inff();
  Vec high = vec_set(-infinity), flags = vec_zero();
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec v = part.load(x + i, -infinity);
    high = maximum(v, high);
    flags = flags + vec_nan_flags(v);
  });
  return vec_any_nonzero(flags) ? __builtin_nanf("") : vec_max(high);
}

// Weights are e^((x - highest) * factor).
struct Row {
  const float* logits;
  float highest, factor;
};

static double block_sum(const Row& row, int64_t begin, int64_t n) {
  const Vec high = vec_set(row.highest), factor = vec_set(row.factor);
  Doubles sum = doubles_zero();
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec v = part.load(row.logits + begin + i, -__builtin_inff());
    sum = doubles_add(sum, vec_exp((v - high) * factor));
  });
  return doubles_sum(sum);
}

static void block_weights(const Row& row, int64_t begin, int64_t n, float* weights) {
  const Vec high = vec_set(row.highest), factor = vec_set(row.factor);
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec v = part.load(row.logits + begin + i);
    part.store(weights + i, vec_exp((v - high) * factor));
  });
}

// In the order of tokens: the first whose running sum exceeds draw * total.
static int64_t invert(const Row& row, int64_t vocabulary, const double* sums, double draw) {
  const int64_t blocks = ceil_div(vocabulary, kBlock);
  double total = 0.0;
  for (int64_t b = 0; b < blocks; ++b) total += sums[b];
  const double target = draw * total;
  double before = 0.0;
  int64_t block = 0;
  // Rounding of the product may reach the total: the last block with weight then.
  for (; block + 1 < blocks; ++block) {
    const double upto = before + sums[block];
    if (upto > target || upto >= total) break;
    before = upto;
  }
  const int64_t begin = block * kBlock, n = min64(kBlock, vocabulary - begin);
  float weights[kBlock];
  block_weights(row, begin, n, weights);
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (weights[i] > 0.0f) last = i;
    before += weights[i];
    if (before > target) return begin + i;
  }
  return begin + last;
}

// A token as one number: greater for greater weight, then for a lower index.
SD_INLINE uint64_t to_key(float weight, int64_t token) {
  return (uint64_t)float_to_bits(weight) << 32 | (0xffffffffu - (uint32_t)token);
}
SD_INLINE float key_weight(uint64_t key) { return bits_to_float((uint32_t)(key >> 32)); }
SD_INLINE int64_t key_token(uint64_t key) { return 0xffffffffu - (uint32_t)key; }

SD_INLINE void swap(uint64_t& a, uint64_t& b) {
  const uint64_t t = a;
  a = b;
  b = t;
}

// Moves the greatest of n keys to the front until the sum of their weights reaches (EQUAL) or
// exceeds `target`. Returns the index of the key that does it, the last if none, and the sum up
// to it. Quickselect.
template <bool EQUAL>
static int64_t select(uint64_t* keys, int64_t n, double target, double* upto) {
  const auto done = [&](double sum) { return EQUAL ? sum >= target : sum > target; };
  int64_t low = 0, high = n;
  double base = 0.0;
  while (high - low > 16) {
    uint64_t &a = keys[low], &b = keys[low + (high - low) / 2], &c = keys[high - 1];
    if (a < b) swap(a, b);
    if (b < c) swap(b, c);
    if (a < b) swap(a, b);
    swap(b, c);  // the middle one is the pivot, at the end
    const uint64_t pivot = c;
    double left = 0.0;
    int64_t at = low;
    // Without branches: which way a key goes cannot be foreseen.
    for (int64_t i = low; i < high - 1; ++i) {
      const uint64_t key = keys[i];
      const bool greater = key > pivot;
      keys[i] = keys[at];
      keys[at] = key;
      at += greater;
      left += (double)key_weight(greater ? key : 0);
    }
    swap(keys[at], keys[high - 1]);
    const double with = base + left + key_weight(pivot);
    if (done(base + left)) {
      high = at;
    } else if (done(with)) {
      *upto = with;
      return at;
    } else {
      base = with;
      low = at + 1;
    }
  }
  for (int64_t i = low + 1; i < high; ++i) {
    const uint64_t key = keys[i];
    int64_t j = i;
    for (; j > low && keys[j - 1] < key; --j) keys[j] = keys[j - 1];
    keys[j] = key;
  }
  *upto = base;
  for (int64_t i = low; i < high; ++i) {
    *upto += key_weight(keys[i]);
    if (done(*upto)) return i;
  }
  return high - 1;
}

// Among the fewest most probable tokens that hold top_p, in descending order of probability.
static int64_t invert_head(const Row& row, int64_t vocabulary, const double* sums, double draw,
                           double top_p, float* weights, uint64_t* keys) {
  double total = 0.0;
  for (int64_t b = 0; b < ceil_div(vocabulary, kBlock); ++b) total += sums[b];
  block_weights(row, 0, vocabulary, weights);
  // Few tokens hold nearly everything: candidates are those above the first bound that suffices.
  float bound = 0.0625f;
  for (; bound > 0.0f; bound = bound > 1e-9f ? bound * 0.0625f : 0.0f) {
    const Vec limit = vec_set(bound);
    Doubles sum = doubles_zero();
    each_lanes(vocabulary, [&](int64_t i, auto part) {
      const Vec w = part.load(weights + i);
      sum = doubles_add(sum, vec_choose(w, limit, w, vec_zero()));
    });
    if (doubles_sum(sum) >= top_p * total) break;
  }
  int64_t count = 0;
  const Vec limit = vec_set(bound), one = vec_set(1.0f);
  each_lanes(vocabulary, [&](int64_t begin, auto part) {
    if (!vec_any_nonzero(vec_choose(part.load(weights + begin), limit, one, vec_zero()))) return;
    for (int64_t i = begin; i < min64(begin + kLanes, vocabulary); ++i) {
      keys[count] = to_key(weights[i], i);
      count += weights[i] > bound;
    }
  });
  double kept = 0.0, upto = 0.0;
  const int64_t last = select<true>(keys, count, top_p * total, &kept);
  return key_token(keys[select<false>(keys, last + 1, draw * kept, &upto)]);
}

static int64_t first_of(const float* x, int64_t n, float value) {
  int64_t i = 0;
  while (i + 1 < n && x[i] != value) ++i;
  return i;
}

static int64_t sample(const float* logits, int64_t ld, int64_t rows, int32_t vocabulary,
                      const double* draws, const float* temperature, const float* top_p,
                      int64_t* out) {
  const int64_t blocks = ceil_div(vocabulary, kBlock);
  bool heads = false;
  for (int64_t r = 0; r < rows; ++r) heads = heads || (temperature[r] > 0.0f && top_p[r] < 1.0f);
  const int64_t room = heads ? round_up((int64_t)vocabulary * 12, 64) : 0;
  const int64_t stats = round_up(rows * blocks * 12 + rows * 4, 64);
  uint8_t* memory = (uint8_t*)malloc((size_t)(stats + room * num_threads()));
  if (!memory) return -2;
  double* sums = (double*)memory;
  float* maxima = (float*)(sums + rows * blocks);
  float* highest = maxima + rows * blocks;
  const auto length = [&](int64_t block) { return min64(kBlock, vocabulary - block * kBlock); };
  parallel_for(rows * blocks, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i % blocks;
      maxima[i] = block_max(logits + i / blocks * ld + block * kBlock, length(block));
    }
  });
  int64_t bad = -1;
  for (int64_t r = 0; r < rows && bad < 0; ++r) {
    highest[r] = maxima[r * blocks];
    for (int64_t b = 1; b < blocks; ++b) {
      const float other = maxima[r * blocks + b];
      // NaN stays.
      if (other > highest[r] || other != other) highest[r] = other;
      if (highest[r] != highest[r]) break;
    }
    if (!(highest[r] - highest[r] == 0.0f)) bad = r;
  }
  if (bad < 0) {
    const auto row = [&](int64_t r) {
      return Row{logits + r * ld, highest[r], fminf(1.0f / temperature[r], 3.4e38f)};
    };
    parallel_for(rows * blocks, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / blocks, block = i % blocks;
        if (temperature[r] > 0.0f) sums[i] = block_sum(row(r), block * kBlock, length(block));
      }
    });
    parallel_for(rows, 1, [&](int64_t begin, int64_t end, int thread) {
      uint8_t* own = memory + stats + room * thread;
      uint64_t* keys = (uint64_t*)own;
      float* weights = (float*)(keys + vocabulary);
      for (int64_t r = begin; r < end; ++r) {
        const double* row_sums = sums + r * blocks;
        if (!(temperature[r] > 0.0f)) {
          const int64_t block = first_of(maxima + r * blocks, blocks, highest[r]);
          out[r] = block * kBlock +
                   first_of(logits + r * ld + block * kBlock, length(block), highest[r]);
        } else if (top_p[r] < 1.0f) {
          out[r] = invert_head(row(r), vocabulary, row_sums, draws[r], top_p[r], weights, keys);
        } else {
          out[r] = invert(row(r), vocabulary, row_sums, draws[r]);
        }
      }
    });
  }
  free(memory);
  return bad;
}

}  // namespace sampling

static void fill_sampling(Ops& ops) { ops.sample = &sampling::sample; }
