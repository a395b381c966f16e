// Low-rank adapters: both halves of y += scale (x A) B over pages. Every sum runs in one order,
// whichever thread, item or block of rows its number falls in.
// Included inside a level's namespace, after elementwise.inl.h and its vectors.

// Rows of a segment that are computed together: kLoraRowBlock.
#if defined(__AVX512VNNI__)
SD_INLINE Vec bf16_to_vec(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
constexpr int kLoraRowBlock = 4;
#elif defined(__AVX2__)
SD_INLINE Vec bf16_to_vec(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
constexpr int kLoraRowBlock = 2;
#else
SD_INLINE Vec bf16_to_vec(const uint16_t* p) {
  return Vec{bf16_to_float(p[0]), bf16_to_float(p[1]), bf16_to_float(p[2]), bf16_to_float(p[3])};
}
constexpr int kLoraRowBlock = 2;
#endif

// Rank rows and vectors of columns that are computed together, and how many such steps ahead
// memory is asked for.
constexpr int kLoraRankBlock = 4, kLoraVecs = 4;
constexpr int kShrinkAhead = 1, kExpandAhead = 3;

// The pool as numbers of one format.
template <int DTYPE>
struct Pool {
  static constexpr int64_t kBytes = DTYPE == kF32 ? 4 : 2;
  const uint8_t* data;
  int64_t page_size;

  inline const uint8_t* at(int32_t page, int64_t element) const {
    return data + (page * page_size + element) * kBytes;
  }
  static inline Vec load(const uint8_t* p) {
    if (DTYPE == kF32) return vec_load((const float*)p);
    return DTYPE == kBF16 ? bf16_to_vec((const uint16_t*)p) : halves_to_vec((const uint16_t*)p);
  }
};

// `count` rows of a page table. Of each, what begins at `offset` in the page `page`.
struct PageRows {
  const int32_t* table;
  int64_t stride, count;
  int64_t page, offset;
};

// Into the second-level cache: more requests fit than the first level can wait for.
SD_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }

SD_INLINE Vec keep_first(Vec a, int64_t n) {
  float lanes[kLanes];
  vec_store(lanes, a);
  return vec_load_first(lanes, n, 0.0f);
}

// out[row, j] = x[row] . A[j] for ROWS rows of x and RANKS rank rows. What `ahead` names is
// requested from memory meanwhile.
template <int DTYPE, int RANKS, int ROWS>
static void shrink_block(const Pool<DTYPE>& pool, const PageRows& a, int64_t k, const float* x,
                         int64_t ldx, float* out, int64_t ldo, const PageRows& ahead) {
  constexpr int64_t kStep = 32;
  constexpr int64_t kBytes = Pool<DTYPE>::kBytes;
  Vec sum[ROWS][RANKS];
  for (int r = 0; r < ROWS; ++r) {
    for (int j = 0; j < RANKS; ++j) sum[r][j] = vec_zero();
  }
  for (int64_t start = 0, page = 0; start < k; start += pool.page_size, ++page) {
    const uint8_t* w[RANKS];
    const uint8_t* next[RANKS];
    for (int j = 0; j < RANKS; ++j) {
      w[j] = pool.at(a.table[j * a.stride + page], 0);
      next[j] = j < ahead.count ? pool.at(ahead.table[j * ahead.stride + page], 0) : w[j];
    }
    const float* part = x + start;
    const int64_t n = min64(pool.page_size, k - start);
    const auto add = [&](int64_t i) {
      Vec weights[RANKS];
      for (int j = 0; j < RANKS; ++j) weights[j] = Pool<DTYPE>::load(w[j] + i * kBytes);
      for (int r = 0; r < ROWS; ++r) {
        const Vec v = vec_load(part + r * ldx + i);
        for (int j = 0; j < RANKS; ++j) sum[r][j] = vec_fma(weights[j], v, sum[r][j]);
      }
    };
    int64_t i = 0;
    for (; i + kStep <= n; i += kStep) {
      for (int j = 0; j < RANKS; ++j) {
        for (int64_t b = 0; b < kStep * kBytes; b += 64) prefetch_far(next[j] + i * kBytes + b);
      }
      for (int64_t l = 0; l < kStep; l += kLanes) add(i + l);
    }
    for (; i + kLanes <= n; i += kLanes) add(i);
    if (i < n) {
      for (int j = 0; j < RANKS; ++j) {
        const Vec weights = keep_first(Pool<DTYPE>::load(w[j] + i * kBytes), n - i);
        for (int r = 0; r < ROWS; ++r) {
          const Vec v = vec_load_first(part + r * ldx + i, n - i, 0.0f);
          sum[r][j] = vec_fma(weights, v, sum[r][j]);
        }
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    float* to = out + r * ldo;
    if constexpr (RANKS == 4) {
      store_sums(to, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    } else {
      for (int j = 0; j < RANKS; ++j) to[j] = vec_sum(sum[r][j]);
    }
  }
}

// y[row, :width] += scale * sum over ranks of v[row, j] B[j, ...]; width at most VECS vectors.
template <int DTYPE, int VECS, int ROWS>
static void expand_block(const Pool<DTYPE>& pool, const PageRows& b, int64_t width, const float* v,
                         int64_t ldv, float scale, float* y, int64_t ldy, const PageRows& ahead) {
  constexpr int64_t kBytes = Pool<DTYPE>::kBytes;
  Vec sum[ROWS][VECS];
  for (int r = 0; r < ROWS; ++r) {
    for (int u = 0; u < VECS; ++u) sum[r][u] = vec_zero();
  }
  for (int64_t j = 0; j < b.count; ++j) {
    const uint8_t* w = pool.at(b.table[j * b.stride + b.page], b.offset);
    if (j < ahead.count) {
      const uint8_t* next = pool.at(ahead.table[j * ahead.stride + ahead.page], ahead.offset);
      for (int64_t at = 0; at < VECS * kLanes * kBytes; at += 64) prefetch_far(next + at);
    }
    Vec weights[VECS];
    for (int u = 0; u < VECS; ++u) weights[u] = Pool<DTYPE>::load(w + u * kLanes * kBytes);
    for (int r = 0; r < ROWS; ++r) {
      const Vec factor = vec_set(v[r * ldv + j]);
      for (int u = 0; u < VECS; ++u) sum[r][u] = vec_fma(weights[u], factor, sum[r][u]);
    }
  }
  const Vec factor = vec_set(scale);
  for (int r = 0; r < ROWS; ++r) {
    float* to = y + r * ldy;
    for (int u = 0; u < VECS; ++u) {
      const int64_t at = u * kLanes;
      if (width - at >= kLanes) {
        vec_store(to + at, vec_fma(sum[r][u], factor, vec_load(to + at)));
      } else if (width > at) {
        const Vec old = vec_load_first(to + at, width - at, 0.0f);
        vec_store_first(to + at, vec_fma(sum[r][u], factor, old), width - at);
      }
    }
  }
}

// Steps of a thread through the items [first, last): of item `segment`, `target`, rows [row, row +
// rows) the rank rows (shrink) or the columns (expand) [at, at + size). Items are in order by
// segment, block of rows, target, part of the target.
template <bool EXPAND>
class LoraCursor {
 public:
  int64_t segment = 0, row = 0, rows = 0, rank = 0, at = 0, size = 0;
  int32_t target = 0;

  LoraCursor(const LoraWork& work, int64_t first, int64_t last)
      : work_(work), page_size_(work.segments.page_size), left_(last - first) {
    const int64_t* firsts = EXPAND ? work.expand_first : work.shrink_first;
    int64_t low = 0, high = work.segments.segments;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (firsts[middle] <= first ? low : high) = middle;
    }
    enter_segment(low);
    int64_t skip = first - firsts[segment];
    for (int64_t passed = parts(); skip >= passed; passed = parts()) {
      skip -= passed;
      next_target();
    }
    at = skip * kUnit;
    enter_item();
  }

  bool done() const { return left_ == 0; }

  void advance() {
    at += size;
    offset_ += size;
    if (at == end_) {
      if (--left_ == 0) return;
      if (at == extent()) {
        at = 0;
        next_target();
      }
      return enter_item();
    }
    if (offset_ == page_size_) {
      offset_ = 0;
      ++page_;
    }
    measure();
  }

  PageRows pages() const {
    if (done()) return PageRows{};
    const LoraTarget& t = work_.targets[target];
    const int64_t first = work_.segments.rank_indptr[segment];
    if (EXPAND) return {t.b_pages + first * t.b_stride, t.b_stride, rank, page_, offset_};
    return {t.a_pages + (first + at) * t.a_stride, t.a_stride, size, 0, 0};
  }

 private:
  static constexpr int64_t kUnit = EXPAND ? kLoraColumns : kLoraRanks;

  int64_t extent() const { return EXPAND ? work_.targets[target].n : rank; }
  int64_t parts() const { return ceil_div(extent(), kUnit); }

  void enter_segment(int64_t first) {
    const LoraSegments& s = work_.segments;
    for (segment = first;; ++segment) {
      rank = s.rank_indptr[segment + 1] - s.rank_indptr[segment];
      if (rank > 0 && s.indptr[segment] < s.indptr[segment + 1]) break;
    }
    row = s.indptr[segment];
  }

  void next_target() {
    if (++target < work_.count) return;
    target = 0;
    row += kLoraRows;
    if (row >= work_.segments.indptr[segment + 1]) enter_segment(segment + 1);
  }

  void enter_item() {
    rows = min64(kLoraRows, work_.segments.indptr[segment + 1] - row);
    end_ = min64(at + kUnit, extent());
    page_ = at / page_size_;
    offset_ = at - page_ * page_size_;
    measure();
  }

  void measure() {
    if (EXPAND) {
      const int64_t room = min64(page_size_ - offset_, end_ - at);
      size = room >= kLoraVecs * kLanes ? kLoraVecs * kLanes : min64(room, kLanes);
    } else {
      size = end_ - at >= kLoraRankBlock ? kLoraRankBlock : 1;
    }
  }

  const LoraWork& work_;
  const int64_t page_size_;
  int64_t left_, end_ = 0, page_ = 0, offset_ = 0;
};

template <int DTYPE, int RANKS>
static void shrink_rows(const Pool<DTYPE>& pool, const PageRows& a, int64_t k, const float* x,
                        int64_t ldx, int64_t rows, float* out, int64_t ldo, PageRows ahead) {
  int64_t row = 0;
  for (; row + kLoraRowBlock <= rows; row += kLoraRowBlock) {
    shrink_block<DTYPE, RANKS, kLoraRowBlock>(pool, a, k, x + row * ldx, ldx, out + row * ldo, ldo,
                                              ahead);
    ahead.count = 0;
  }
  for (; row < rows; ++row) {
    shrink_block<DTYPE, RANKS, 1>(pool, a, k, x + row * ldx, ldx, out + row * ldo, ldo, ahead);
    ahead.count = 0;
  }
}

template <int DTYPE, int VECS>
static void expand_rows(const Pool<DTYPE>& pool, const PageRows& b, int64_t width, const float* v,
                        int64_t ldv, float scale, float* y, int64_t ldy, int64_t rows,
                        PageRows ahead) {
  int64_t row = 0;
  for (; row + kLoraRowBlock <= rows; row += kLoraRowBlock) {
    expand_block<DTYPE, VECS, kLoraRowBlock>(pool, b, width, v + row * ldv, ldv, scale,
                                             y + row * ldy, ldy, ahead);
    ahead.count = 0;
  }
  for (; row < rows; ++row) {
    expand_block<DTYPE, VECS, 1>(pool, b, width, v + row * ldv, ldv, scale, y + row * ldy, ldy,
                                 ahead);
    ahead.count = 0;
  }
}

// Where x A of the cursor's rows is.
template <bool EXPAND>
SD_INLINE float* shrunk_rows(const LoraWork& work, const LoraCursor<EXPAND>& c) {
  return work.shrunk + c.target * work.numbers + work.offsets[c.segment] +
         (c.row - work.segments.indptr[c.segment]) * c.rank;
}

template <int DTYPE>
static void lora_shrink_items(const LoraWork& work, int64_t begin, int64_t end) {
  const Pool<DTYPE> pool{(const uint8_t*)work.segments.pool, work.segments.page_size};
  LoraCursor<false> c(work, begin, end), later = c;
  for (int i = 0; i < kShrinkAhead && !later.done(); ++i) later.advance();
  while (!c.done()) {
    const int64_t k = work.targets[c.target].k;
    const float* x = work.x + c.row * work.ldx;
    float* v = shrunk_rows(work, c) + c.at;
    const PageRows a = c.pages(), ahead = later.pages();
    if (c.size == kLoraRankBlock) {
      shrink_rows<DTYPE, kLoraRankBlock>(pool, a, k, x, work.ldx, c.rows, v, c.rank, ahead);
    } else {
      shrink_rows<DTYPE, 1>(pool, a, k, x, work.ldx, c.rows, v, c.rank, ahead);
    }
    c.advance();
    if (!later.done()) later.advance();
  }
}

template <int DTYPE>
static void lora_expand_items(const LoraWork& work, int64_t begin, int64_t end) {
  const Pool<DTYPE> pool{(const uint8_t*)work.segments.pool, work.segments.page_size};
  LoraCursor<true> c(work, begin, end), later = c;
  for (int i = 0; i < kExpandAhead && !later.done(); ++i) later.advance();
  while (!c.done()) {
    const float* v = shrunk_rows(work, c);
    const float scale = work.segments.scales[c.segment];
    float* y = work.y + c.row * work.ldy + work.targets[c.target].column + c.at;
    const PageRows b = c.pages(), ahead = later.pages();
    if (c.size == kLoraVecs * kLanes) {
      expand_rows<DTYPE, kLoraVecs>(pool, b, c.size, v, c.rank, scale, y, work.ldy, c.rows, ahead);
    } else {
      expand_rows<DTYPE, 1>(pool, b, c.size, v, c.rank, scale, y, work.ldy, c.rows, ahead);
    }
    c.advance();
    if (!later.done()) later.advance();
  }
}

static void lora_shrink(const LoraWork& work, int64_t begin, int64_t end) {
  if (begin >= end) return;
  if (work.segments.pool_dtype == kF32) {
    lora_shrink_items<kF32>(work, begin, end);
  } else if (work.segments.pool_dtype == kBF16) {
    lora_shrink_items<kBF16>(work, begin, end);
  } else {
    lora_shrink_items<kF16>(work, begin, end);
  }
}

static void lora_expand(const LoraWork& work, int64_t begin, int64_t end) {
  if (begin >= end) return;
  if (work.segments.pool_dtype == kF32) {
    lora_expand_items<kF32>(work, begin, end);
  } else if (work.segments.pool_dtype == kBF16) {
    lora_expand_items<kBF16>(work, begin, end);
  } else {
    lora_expand_items<kF16>(work, begin, end);
  }
}

static void fill_lora(Ops& ops) {
  ops.lora_shrink = lora_shrink;
  ops.lora_expand = lora_expand;
}
