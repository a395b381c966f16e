// Rows of the key/value cache: how they are stored, and how vectors are read from them.
// Included inside a level's namespace.

// Reads kStep numbers of a row as kPair vectors. With two, the first holds the even and the second
// the odd ones: `load` keeps them packed, `get` unpacks one vector.
template <int BITS>
struct Reader;

#if defined(__AVX512VNNI__)

template <>
struct Reader<16> {
  typedef __m512i Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static Raw load_first(const uint8_t* p, int64_t n) {
    return _mm512_maskz_loadu_epi16((__mmask32)((1ull << n) - 1), p);
  }
  template <int E>
  static Vec get(Raw a) {
    return _mm512_castsi512_ps(E == 0 ? _mm512_slli_epi32(a, 16)
                                      : _mm512_and_si512(a, _mm512_set1_epi32((int)0xffff0000)));
  }
};

template <>
struct Reader<8> {
  typedef __m128i Raw;
  static constexpr int kPair = 1;
  static Raw load(const uint8_t* p) { return _mm_loadu_si128((const __m128i*)p); }
  static Raw load_first(const uint8_t* p, int64_t n) {
    return _mm_maskz_loadu_epi8(first_lanes(n), p);
  }
  template <int E>
  static Vec get(Raw a) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(a));
  }
};

template <>
struct Reader<4> {
  typedef __m512i Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
  }
  static Raw load_first(const uint8_t* p, int64_t n) {
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(n / 2), p));
  }
  template <int E>
  static Vec get(Raw a) {
    // The permutation looks at the lowest four bits only.
    const Vec table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_permutexvar_ps(E == 0 ? a : _mm512_srli_epi32(a, 4), table);
  }
};

#elif defined(__AVX2__)

template <>
struct Reader<16> {
  typedef __m256i Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
  template <int E>
  static Vec get(Raw a) {
    return _mm256_castsi256_ps(E == 0 ? _mm256_slli_epi32(a, 16)
                                      : _mm256_and_si256(a, _mm256_set1_epi32((int)0xffff0000)));
  }
};

template <>
struct Reader<8> {
  typedef __m128i Raw;
  static constexpr int kPair = 1;
  static Raw load(const uint8_t* p) { return _mm_loadl_epi64((const __m128i*)p); }
  template <int E>
  static Vec get(Raw a) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a));
  }
};

template <>
struct Reader<4> {
  typedef __m256i Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
  }
  template <int E>
  static Vec get(Raw a) {
    return _mm256_cvtepi32_ps(E == 0 ? _mm256_and_si256(a, _mm256_set1_epi32(15))
                                     : _mm256_srli_epi32(a, 4));
  }
};

#else

template <>
struct Reader<16> {
  typedef VecInts Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) {
    Raw a;  // little-endian: the even number of a pair is the low half
    memcpy(&a, p, 16);
    return a;
  }
  template <int E>
  static Vec get(Raw a) {
    return (Vec)(E == 0 ? a << 16 : a & (int32_t)0xffff0000);
  }
};

template <>
struct Reader<8> {
  typedef VecInts Raw;
  static constexpr int kPair = 1;
  static Raw load(const uint8_t* p) { return Raw{p[0], p[1], p[2], p[3]}; }
  template <int E>
  static Vec get(Raw a) {
    return __builtin_convertvector(a, Vec);
  }
};

template <>
struct Reader<4> {
  typedef VecInts Raw;
  static constexpr int kPair = 2;
  static Raw load(const uint8_t* p) { return Raw{p[0], p[1], p[2], p[3]}; }
  template <int E>
  static Vec get(Raw a) {
    return __builtin_convertvector(E == 0 ? a & 15 : a >> 4, Vec);
  }
};

#endif

template <int BITS>
constexpr int kStep = Reader<BITS>::kPair* kLanes;
template <int BITS>
constexpr int kStepBytes = kStep<BITS>* BITS / 8;

// The first n numbers, the others 0.
template <int BITS>
SD_INLINE typename Reader<BITS>::Raw load_first(const uint8_t* p, int64_t n) {
#if defined(__AVX512VNNI__)
  return Reader<BITS>::load_first(p, n);
#else
  uint8_t bytes[kStepBytes<BITS>] = {};
  memcpy(bytes, p, (size_t)(n * BITS / 8));
  return Reader<BITS>::load(bytes);
#endif
}

// from [n] to the order in which Reader delivers a row, times `factor`; up to `padded` with zeros.
// Returns the sum.
template <int BITS>
SD_INLINE float to_reading_order(const float* from, int64_t n, int64_t padded, float factor,
                                 float* to) {
  constexpr int pair = Reader<BITS>::kPair, step = kStep<BITS>;
  float rest[step] = {};
  float sum = 0.0f;
  for (int64_t s = 0; s < padded; s += step) {
    const float* in = from + s;
    if (s + step > n) {
      for (int64_t i = s; i < n; ++i) rest[i - s] = from[i];
      in = rest;
    }
    for (int e = 0; e < pair; ++e) {
      for (int i = 0; i < kLanes; ++i) to[s + e * kLanes + i] = in[i * pair + e] * factor;
    }
    for (int e = 0; e < pair; ++e) sum += vec_sum(vec_load(to + s + e * kLanes));
  }
  return sum;
}

// The inverse: to [n] = (from + offset) * factor.
template <int BITS>
SD_INLINE void from_reading_order(const float* from, int64_t n, float offset, float factor,
                                  float* to) {
  constexpr int pair = Reader<BITS>::kPair, step = kStep<BITS>;
  for (int64_t s = 0; s < n; s += step) {
    float natural[step];
    for (int i = 0; i < kLanes; ++i) {
      for (int e = 0; e < pair; ++e) {
        natural[i * pair + e] = (from[s + e * kLanes + i] + offset) * factor;
      }
    }
    memcpy(to + s, natural, (size_t)min64(step, n - s) * 4);
  }
}

// One row [n] as floats in natural order.
static void row_to_floats(int32_t bits, const uint8_t* from, int64_t n, float scale, float minimum,
                          float* to) {
  if (bits == 16) {
    const uint16_t* raw = (const uint16_t*)from;
    for (int64_t i = 0; i < n; ++i) to[i] = bf16_to_float(raw[i]);
  } else if (bits == 8) {
    for (int64_t i = 0; i < n; ++i) to[i] = (float)from[i] * scale + minimum;
  } else {
    for (int64_t i = 0; i < n / 2; ++i) {
      to[2 * i] = (float)(from[i] & 15) * scale + minimum;
      to[2 * i + 1] = (float)(from[i] >> 4) * scale + minimum;
    }
  }
}

// Asymmetric, one scale and minimum for the row; not finite numbers make both NaN.
static void quantize_row(const float* x, int64_t n, int32_t bits, uint8_t* codes,
                         uint16_t* params) {
  Vec low = vec_set(x[0]), high = low, odd = vec_zero();
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec v = part.load(x + i, x[0]);
    low = minimum(low, v);
    high = maximum(high, v);
    odd = odd + (v - v);
  });
  const float levels = bits == 8 ? 255.0f : 15.0f;
  if (vec_any_nonzero(odd)) {
    params[0] = params[1] = 0x7e00;  // NaN
    memset(codes, 0, (size_t)(n * bits / 8));
    return;
  }
  const float lowest = -vec_max(vec_zero() - low), highest = vec_max(high);
  params[0] = float_to_half((highest - lowest) / levels);
  params[1] = float_to_half(lowest);
  const float scale = half_to_float(params[0]), base = half_to_float(params[1]);
  const Vec divisor = vec_set(scale > 0.0f ? scale : 1.0f), start = vec_set(base);
  float grid[kMaxHeadDim + kLanes];
  each_lanes(n, [&](int64_t i, auto part) {
    const Vec q = vec_round((part.load(x + i) - start) / divisor);
    vec_store(grid + i, maximum(minimum(q, vec_set(levels)), vec_zero()));
  });
  if (bits == 8) {
    for (int64_t i = 0; i < n; ++i) codes[i] = (uint8_t)(int32_t)grid[i];
  } else {
    for (int64_t i = 0; i < n / 2; ++i) {
      codes[i] = (uint8_t)((int32_t)grid[2 * i] | (int32_t)grid[2 * i + 1] << 4);
    }
  }
}

static void write_kv(const float* k, const float* v, int64_t ld, int64_t tokens,
                     const KVCacheView& cache, const int64_t* slots) {
  const int64_t dim = cache.head_dim, bytes = dim * cache.bits / 8, size = cache.block_size;
  parallel_for(tokens, rows_grain(dim * cache.kv_heads), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      if (slots[t] < 0) continue;
      const int64_t block = slots[t] / size, offset = slots[t] % size;
      for (int64_t h = 0; h < cache.kv_heads; ++h) {
        const int64_t row = (block * cache.kv_heads + h) * size + offset;
        const float* from[2] = {k + t * ld + h * dim, v + t * ld + h * dim};
        uint8_t* to[2] = {(uint8_t*)cache.keys + row * bytes, (uint8_t*)cache.values + row * bytes};
        uint16_t* params[2] = {cache.key_params, cache.value_params};
        for (int i = 0; i < 2; ++i) {
          if (cache.bits == 16) {
            narrow(from[i], dim, kBF16, to[i]);
          } else {
            quantize_row(from[i], dim, cache.bits, to[i], params[i] + row * 2);
          }
        }
      }
    }
  });
}
