// Low-rank adapters: both halves of y += scale (x A) B over pages. Every sum runs in one order,
// whichever thread, item or block of rows its number falls in.
// Included inside a level's namespace, after elementwise.inl.h and its vectors.

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

// Rows of a page table.
struct PageRows {
  const int32_t* table;
  int64_t stride;
  int64_t count;
};

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
        for (int64_t b = 0; b < kStep * kBytes; b += 64) prefetch(next[j] + i * kBytes + b);
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

// y[row, :width] += scale * sum over ranks of v[row, j] B[j, column:]; within one page of each B,
// width at most VECS vectors.
template <int DTYPE, int VECS, int ROWS>
static void expand_block(const Pool<DTYPE>& pool, const PageRows& b, int64_t column, int64_t width,
                         const float* v, int64_t ldv, float scale, float* y, int64_t ldy,
                         const PageRows& ahead, int64_t ahead_column) {
  constexpr int64_t kBytes = Pool<DTYPE>::kBytes;
  const int64_t page = column / pool.page_size, offset = column - page * pool.page_size;
  const int64_t ahead_page = ahead_column / pool.page_size;
  const int64_t ahead_offset = ahead_column - ahead_page * pool.page_size;
  Vec sum[ROWS][VECS];
  for (int r = 0; r < ROWS; ++r) {
    for (int u = 0; u < VECS; ++u) sum[r][u] = vec_zero();
  }
  for (int64_t j = 0; j < b.count; ++j) {
    const uint8_t* w = pool.at(b.table[j * b.stride + page], offset);
    if (j < ahead.count) {
      const uint8_t* next = pool.at(ahead.table[j * ahead.stride + ahead_page], ahead_offset);
      for (int64_t at = 0; at < VECS * kLanes * kBytes; at += 64) prefetch(next + at);
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

// One item: rows [row, row + rows) of a segment and, of one target, the rank rows or the columns
// [begin, end).
struct LoraItem {
  int64_t segment, row, rows, begin, end;
  int32_t target;
};

// Items in order: by segment, block of rows, target, part of the target.
class LoraWalk {
 public:
  LoraWalk(const LoraWork& work, bool expand, int64_t item) : work_(work), expand_(expand) {
    const int64_t* first = expand ? work.expand_first : work.shrink_first;
    int64_t low = 0, high = work.segments.segments;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (first[middle] <= item ? low : high) = middle;
    }
    enter(low);
    int64_t left = item - first[low];
    for (; left >= parts(); left -= parts()) skip_target();
    begin_ = left * unit();
  }

  LoraItem item() const {
    const int64_t begin = work_.segments.indptr[segment_], end = work_.segments.indptr[segment_ + 1];
    const int64_t row = begin + block_ * kLoraRows;
    return {segment_, row, min64(kLoraRows, end - row), begin_, min64(begin_ + unit(), extent()),
            target_};
  }

  void next() {
    begin_ += unit();
    if (begin_ < extent()) return;
    begin_ = 0;
    skip_target();
  }

 private:
  int64_t unit() const { return expand_ ? kLoraColumns : kLoraRanks; }
  int64_t extent() const { return expand_ ? work_.targets[target_].n : rank_; }
  int64_t parts() const { return ceil_div(extent(), unit()); }

  void enter(int64_t segment) {
    const LoraSegments& s = work_.segments;
    for (segment_ = segment; segment_ < s.segments; ++segment_) {
      rank_ = s.rank_indptr[segment_ + 1] - s.rank_indptr[segment_];
      blocks_ = ceil_div(s.indptr[segment_ + 1] - s.indptr[segment_], kLoraRows);
      if (rank_ > 0 && blocks_ > 0) break;
    }
    block_ = 0;
    target_ = 0;
  }

  void skip_target() {
    if (++target_ < work_.count) return;
    target_ = 0;
    if (++block_ == blocks_) enter(segment_ + 1);
  }

  const LoraWork& work_;
  const bool expand_;
  int64_t segment_ = 0, rank_ = 0, block_ = 0, blocks_ = 0, begin_ = 0;
  int32_t target_ = 0;
};

SD_INLINE PageRows lora_pages(const LoraWork& work, const LoraItem& item, bool expand) {
  const LoraTarget& target = work.targets[item.target];
  const int64_t first = work.segments.rank_indptr[item.segment];
  const int64_t rank = work.segments.rank_indptr[item.segment + 1] - first;
  if (expand) return {target.b_pages + first * target.b_stride, target.b_stride, rank};
  return {target.a_pages + (first + item.begin) * target.a_stride, target.a_stride,
          item.end - item.begin};
}

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

template <int DTYPE>
static void lora_shrink_items(const LoraWork& work, int64_t begin, int64_t end) {
  const LoraSegments& s = work.segments;
  const Pool<DTYPE> pool{(const uint8_t*)s.pool, s.page_size};
  LoraWalk walk(work, false, begin);
  LoraItem item = walk.item();
  for (int64_t i = begin; i < end; ++i) {
    LoraItem following{};
    const bool last = i + 1 == end;
    if (!last) {
      walk.next();
      following = walk.item();
    }
    const int64_t k = work.targets[item.target].k;
    const int64_t rank = s.rank_indptr[item.segment + 1] - s.rank_indptr[item.segment];
    float* v = work.shrunk + item.target * work.numbers + work.offsets[item.segment] +
               (item.row - s.indptr[item.segment]) * rank + item.begin;
    const float* x = work.x + item.row * work.ldx;
    PageRows a = lora_pages(work, item, false);
    while (a.count > 0) {
      const int64_t step = a.count >= 4 ? 4 : 1;
      PageRows ahead{a.table + step * a.stride, a.stride, a.count - step};
      if (ahead.count == 0 && !last) ahead = lora_pages(work, following, false);
      if (step == 4) {
        shrink_rows<DTYPE, 4>(pool, a, k, x, work.ldx, item.rows, v, rank, ahead);
      } else {
        shrink_rows<DTYPE, 1>(pool, a, k, x, work.ldx, item.rows, v, rank, ahead);
      }
      v += step;
      a.table += step * a.stride;
      a.count -= step;
    }
    item = following;
  }
}

template <int DTYPE, int VECS>
static void expand_rows(const Pool<DTYPE>& pool, const PageRows& b, int64_t column, int64_t width,
                        const float* v, int64_t ldv, float scale, float* y, int64_t ldy,
                        int64_t rows, PageRows ahead, int64_t ahead_column) {
  int64_t row = 0;
  for (; row + kLoraRowBlock <= rows; row += kLoraRowBlock) {
    expand_block<DTYPE, VECS, kLoraRowBlock>(pool, b, column, width, v + row * ldv, ldv, scale,
                                             y + row * ldy, ldy, ahead, ahead_column);
    ahead.count = 0;
  }
  for (; row < rows; ++row) {
    expand_block<DTYPE, VECS, 1>(pool, b, column, width, v + row * ldv, ldv, scale, y + row * ldy,
                                 ldy, ahead, ahead_column);
    ahead.count = 0;
  }
}

template <int DTYPE>
static void lora_expand_items(const LoraWork& work, int64_t begin, int64_t end) {
  constexpr int kVecs = 4;
  const LoraSegments& s = work.segments;
  const Pool<DTYPE> pool{(const uint8_t*)s.pool, s.page_size};
  LoraWalk walk(work, true, begin);
  LoraItem item = walk.item();
  for (int64_t i = begin; i < end; ++i) {
    LoraItem following{};
    const bool last = i + 1 == end;
    if (!last) {
      walk.next();
      following = walk.item();
    }
    const PageRows b = lora_pages(work, item, true);
    const float* v = work.shrunk + item.target * work.numbers + work.offsets[item.segment] +
                     (item.row - s.indptr[item.segment]) * b.count;
    float* y = work.y + item.row * work.ldy + work.targets[item.target].column;
    const float scale = s.scales[item.segment];
    for (int64_t column = item.begin; column < item.end;) {
      const int64_t page_end = (column / pool.page_size + 1) * pool.page_size;
      const int64_t room = min64(page_end, item.end) - column;
      const int64_t width = min64(room, (room >= kVecs * kLanes ? kVecs : 1) * kLanes);
      PageRows ahead = b;
      int64_t ahead_column = column + width;
      if (ahead_column == item.end) {
        ahead.count = 0;
        if (!last) {
          ahead = lora_pages(work, following, true);
          ahead_column = following.begin;
        }
      }
      if (room >= kVecs * kLanes) {
        expand_rows<DTYPE, kVecs>(pool, b, column, width, v, b.count, scale, y + column, work.ldy,
                                  item.rows, ahead, ahead_column);
      } else {
        expand_rows<DTYPE, 1>(pool, b, column, width, v, b.count, scale, y + column, work.ldy,
                              item.rows, ahead, ahead_column);
      }
      column += width;
    }
    item = following;
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
