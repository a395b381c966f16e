// Sixteen lanes of 32 bits at every level: one register with AVX-512, two with AVX2, an array
// otherwise. Lane r of a tile belongs to its output row r.
// Included inside a level's namespace.

// Before a loop over an array of registers: unrolled late, the array would stay in memory.
#define SD_UNROLL _Pragma("GCC unroll 8")
// Inlined side by side, kernels that need every register compile to worse code.
#define SD_NOINLINE __attribute__((noinline))

// The same pointer, of which the compiler does not know so: it loads again what it would otherwise
// hold in a register.
template <typename T>
SD_INLINE const T* again(const T* p) {
  asm volatile("" : "+r"(p));
  return p;
}

#if defined(__AVX512VNNI__)

typedef __m512i Ints;
typedef __m512 Floats;
typedef __m512i Codes;  // 64 bytes

SD_INLINE Ints ints_set(int32_t a) { return _mm512_set1_epi32(a); }
SD_INLINE Codes codes_load(const uint8_t* p) { return _mm512_loadu_si512(p); }
SD_INLINE Codes codes_low(Codes c) { return _mm512_and_si512(c, _mm512_set1_epi8(0x0f)); }
SD_INLINE Codes codes_high(Codes c) {
  return _mm512_and_si512(_mm512_srli_epi16(c, 4), _mm512_set1_epi8(0x0f));
}
// Four signed bytes in every lane.
typedef __m512i Fours;
SD_INLINE Fours fours_load(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm512_set1_epi32(four);
}
// Lane += four unsigned codes (small: below 16) times the four signed bytes. Of the intrinsic GCC
// makes copies of sums, and then has too few registers.
template <bool kSmall>
SD_INLINE Ints dot(Ints sum, Codes c, Fours x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(c), "v"(x));
  return sum;
}
SD_INLINE Ints join_planes(Ints high, Ints low) {
  return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
}
SD_INLINE Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
SD_INLINE Floats floats_set(float a) { return _mm512_set1_ps(a); }
SD_INLINE Floats floats_load(const float* p) { return _mm512_loadu_ps(p); }
SD_INLINE void floats_store(float* p, Floats a) { _mm512_storeu_ps(p, a); }
SD_INLINE Floats floats_mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
SD_INLINE Floats floats_add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
SD_INLINE Floats floats_fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
SD_INLINE Floats floats_fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
SD_INLINE Floats halves_load(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
SD_INLINE Floats bytes_load(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
// The even and odd of 32 bf16 numbers.
SD_INLINE Floats bf16_even(Codes c) { return _mm512_castsi512_ps(_mm512_slli_epi32(c, 16)); }
SD_INLINE Floats bf16_odd(Codes c) {
  return _mm512_castsi512_ps(_mm512_and_si512(c, _mm512_set1_epi32((int)0xffff0000)));
}
SD_INLINE void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }
SD_INLINE Floats floats_min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
SD_INLINE Floats floats_max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
SD_INLINE Ints magnitude_bits(Floats a) {
  return _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
}
SD_INLINE Ints ints_max(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
SD_INLINE Ints ints_add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
SD_INLINE int32_t largest_of(Ints a) { return _mm512_reduce_max_epi32(a); }
SD_INLINE int32_t sum_of(Ints a) { return _mm512_reduce_add_epi32(a); }
SD_INLINE Ints nearest(Floats a) { return _mm512_cvtps_epi32(a); }
SD_INLINE __m128i low_bytes(Ints a) { return _mm512_cvtepi32_epi8(a); }
SD_INLINE __m128i high_plane(Ints a) {
  return low_bytes(_mm512_srai_epi32(_mm512_add_epi32(a, _mm512_set1_epi32(128)), 8));
}

#elif defined(__AVX2__)

struct Ints { __m256i a, b; };
struct Floats { __m256 a, b; };
struct Codes { __m256i a, b; };

SD_INLINE Ints ints_set(int32_t a) { return {_mm256_set1_epi32(a), _mm256_set1_epi32(a)}; }
SD_INLINE Codes codes_load(const uint8_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))};
}
SD_INLINE Codes codes_low(Codes c) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  return {_mm256_and_si256(c.a, mask), _mm256_and_si256(c.b, mask)};
}
SD_INLINE Codes codes_high(Codes c) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  return {_mm256_and_si256(_mm256_srli_epi16(c.a, 4), mask),
          _mm256_and_si256(_mm256_srli_epi16(c.b, 4), mask)};
}
SD_INLINE __m256i dot_small(__m256i sum, __m256i c, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(c, x);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// Codes above 127 would saturate the sums of pairs in 16 bits: even and odd bytes apart.
SD_INLINE __m256i dot_large(__m256i sum, __m256i c, __m256i even, __m256i odd) {
  const __m256i first = _mm256_madd_epi16(_mm256_and_si256(c, _mm256_set1_epi16(0xff)), even);
  const __m256i second = _mm256_madd_epi16(_mm256_srli_epi16(c, 8), odd);
  return _mm256_add_epi32(sum, _mm256_add_epi32(first, second));
}
typedef __m256i Fours;
SD_INLINE Fours fours_load(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}
template <bool kSmall>
SD_INLINE Ints dot(Ints sum, Codes c, Fours x) {
  if (kSmall) return {dot_small(sum.a, c.a, x), dot_small(sum.b, c.b, x)};
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
  const __m256i odd = _mm256_srai_epi16(x, 8);
  return {dot_large(sum.a, c.a, even, odd), dot_large(sum.b, c.b, even, odd)};
}
SD_INLINE Ints join_planes(Ints h, Ints l) {
  return {_mm256_add_epi32(_mm256_slli_epi32(h.a, 8), l.a),
          _mm256_add_epi32(_mm256_slli_epi32(h.b, 8), l.b)};
}
SD_INLINE Floats to_floats(Ints a) { return {_mm256_cvtepi32_ps(a.a), _mm256_cvtepi32_ps(a.b)}; }
SD_INLINE Floats floats_set(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
SD_INLINE Floats floats_load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SD_INLINE void floats_store(float* p, Floats a) {
  _mm256_storeu_ps(p, a.a);
  _mm256_storeu_ps(p + 8, a.b);
}
SD_INLINE Floats floats_mul(Floats a, Floats b) {
  return {_mm256_mul_ps(a.a, b.a), _mm256_mul_ps(a.b, b.b)};
}
SD_INLINE Floats floats_add(Floats a, Floats b) {
  return {_mm256_add_ps(a.a, b.a), _mm256_add_ps(a.b, b.b)};
}
SD_INLINE Floats floats_fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b)};
}
SD_INLINE Floats floats_fnma(Floats a, Floats b, Floats c) {
  return {_mm256_fnmadd_ps(a.a, b.a, c.a), _mm256_fnmadd_ps(a.b, b.b, c.b)};
}
SD_INLINE Floats halves_load(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
SD_INLINE Floats bytes_load(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}
SD_INLINE Floats bf16_even(Codes c) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(c.a, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(c.b, 16))};
}
SD_INLINE Floats bf16_odd(Codes c) {
  const __m256i mask = _mm256_set1_epi32((int)0xffff0000);
  return {_mm256_castsi256_ps(_mm256_and_si256(c.a, mask)),
          _mm256_castsi256_ps(_mm256_and_si256(c.b, mask))};
}
SD_INLINE void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }
SD_INLINE Floats floats_min(Floats a, Floats b) {
  return {_mm256_min_ps(a.a, b.a), _mm256_min_ps(a.b, b.b)};
}
SD_INLINE Floats floats_max(Floats a, Floats b) {
  return {_mm256_max_ps(a.a, b.a), _mm256_max_ps(a.b, b.b)};
}
SD_INLINE Ints magnitude_bits(Floats a) {
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  return {_mm256_and_si256(_mm256_castps_si256(a.a), mask),
          _mm256_and_si256(_mm256_castps_si256(a.b), mask)};
}
SD_INLINE Ints ints_max(Ints a, Ints b) {
  return {_mm256_max_epi32(a.a, b.a), _mm256_max_epi32(a.b, b.b)};
}
SD_INLINE Ints ints_add(Ints a, Ints b) {
  return {_mm256_add_epi32(a.a, b.a), _mm256_add_epi32(a.b, b.b)};
}
SD_INLINE int32_t largest_of(Ints a) {
  const __m256i b = _mm256_max_epi32(a.a, a.b);
  __m128i c = _mm_max_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  c = _mm_max_epi32(c, _mm_shuffle_epi32(c, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(c, _mm_shuffle_epi32(c, 0xb1)));
}
SD_INLINE int32_t sum_of(Ints a) {
  const __m256i b = _mm256_add_epi32(a.a, a.b);
  __m128i c = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  c = _mm_add_epi32(c, _mm_shuffle_epi32(c, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(c, _mm_shuffle_epi32(c, 0xb1)));
}
SD_INLINE Ints nearest(Floats a) { return {_mm256_cvtps_epi32(a.a), _mm256_cvtps_epi32(a.b)}; }
SD_INLINE __m128i low_bytes(Ints a) {
  const __m256i mask = _mm256_set1_epi32(0xff);
  const __m256i words =
      _mm256_packus_epi32(_mm256_and_si256(a.a, mask), _mm256_and_si256(a.b, mask));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}
SD_INLINE __m128i high_plane(Ints a) {
  const __m256i half = _mm256_set1_epi32(128);
  return low_bytes({_mm256_srai_epi32(_mm256_add_epi32(a.a, half), 8),
                    _mm256_srai_epi32(_mm256_add_epi32(a.b, half), 8)});
}

#else

struct Ints { int32_t v[16]; };
struct Floats { float v[16]; };
struct Codes { uint8_t v[64]; };

#define SD_LANES for (int i = 0; i < 16; ++i)

SD_INLINE Ints ints_set(int32_t a) { Ints s; SD_LANES s.v[i] = a; return s; }
SD_INLINE Codes codes_load(const uint8_t* p) { Codes c; memcpy(c.v, p, 64); return c; }
SD_INLINE Codes codes_low(Codes c) { for (int i = 0; i < 64; ++i) c.v[i] &= 0x0f; return c; }
SD_INLINE Codes codes_high(Codes c) { for (int i = 0; i < 64; ++i) c.v[i] >>= 4; return c; }
typedef const int8_t* Fours;
SD_INLINE Fours fours_load(const int8_t* x) { return x; }
template <bool kSmall>
SD_INLINE Ints dot(Ints sum, Codes c, Fours x) {
  SD_LANES {
    for (int j = 0; j < 4; ++j) sum.v[i] += (int32_t)c.v[4 * i + j] * x[j];
  }
  return sum;
}
SD_INLINE Ints join_planes(Ints h, Ints l) { SD_LANES h.v[i] = h.v[i] * 256 + l.v[i]; return h; }
SD_INLINE Floats to_floats(Ints a) { Floats f; SD_LANES f.v[i] = (float)a.v[i]; return f; }
SD_INLINE Floats floats_set(float a) { Floats f; SD_LANES f.v[i] = a; return f; }
SD_INLINE Floats floats_load(const float* p) { Floats f; memcpy(f.v, p, 64); return f; }
SD_INLINE void floats_store(float* p, Floats a) { memcpy(p, a.v, 64); }
SD_INLINE Floats floats_mul(Floats a, Floats b) { SD_LANES a.v[i] *= b.v[i]; return a; }
SD_INLINE Floats floats_add(Floats a, Floats b) { SD_LANES a.v[i] += b.v[i]; return a; }
SD_INLINE Floats floats_fma(Floats a, Floats b, Floats c) {
  SD_LANES c.v[i] += a.v[i] * b.v[i];
  return c;
}
SD_INLINE Floats floats_fnma(Floats a, Floats b, Floats c) {
  SD_LANES c.v[i] -= a.v[i] * b.v[i];
  return c;
}
SD_INLINE Floats halves_load(const uint16_t* p) {
  Floats f;
  SD_LANES f.v[i] = half_to_float(p[i]);
  return f;
}
SD_INLINE Floats bytes_load(const uint8_t* p) { Floats f; SD_LANES f.v[i] = p[i]; return f; }
SD_INLINE Floats bf16_even(Codes c) {
  Floats f;
  SD_LANES f.v[i] = bf16_to_float((uint16_t)(c.v[4 * i] | c.v[4 * i + 1] << 8));
  return f;
}
SD_INLINE Floats bf16_odd(Codes c) {
  Floats f;
  SD_LANES f.v[i] = bf16_to_float((uint16_t)(c.v[4 * i + 2] | c.v[4 * i + 3] << 8));
  return f;
}
SD_INLINE void prefetch(const void*) {}
SD_INLINE Floats floats_min(Floats a, Floats b) {
  SD_LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SD_INLINE Floats floats_max(Floats a, Floats b) {
  SD_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SD_INLINE Ints magnitude_bits(Floats a) {
  Ints s;
  SD_LANES s.v[i] = (int32_t)(float_to_bits(a.v[i]) & 0x7fffffffu);
  return s;
}
SD_INLINE Ints ints_max(Ints a, Ints b) {
  SD_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SD_INLINE Ints ints_add(Ints a, Ints b) { SD_LANES a.v[i] += b.v[i]; return a; }
SD_INLINE int32_t largest_of(Ints a) {
  int32_t most = a.v[0];
  SD_LANES most = a.v[i] > most ? a.v[i] : most;
  return most;
}
SD_INLINE int32_t sum_of(Ints a) { int32_t s = 0; SD_LANES s += a.v[i]; return s; }
SD_INLINE Ints nearest(Floats a) {
  Ints s;
  SD_LANES s.v[i] = (int32_t)__builtin_rintf(a.v[i]);
  return s;
}
struct Bytes { int8_t v[16]; };
SD_INLINE Bytes low_bytes(Ints a) { Bytes b; SD_LANES b.v[i] = (int8_t)a.v[i]; return b; }
SD_INLINE Bytes high_plane(Ints a) {
  Bytes b;
  SD_LANES b.v[i] = (int8_t)((a.v[i] + 128) >> 8);
  return b;
}
SD_INLINE void bytes_store(int8_t* p, Bytes a, int64_t count) { memcpy(p, a.v, (size_t)count); }
SD_INLINE void planes_store(int8_t* p, Bytes high, Bytes low, int64_t count) {
  for (int i = 0; i < count; i += 4) {
    memcpy(p + 2 * i, high.v + i, 4);
    memcpy(p + 2 * i + 4, low.v + i, 4);
  }
}
#undef SD_LANES

#endif

#if defined(__AVX2__)
// The first 8 or 16 bytes; those of two planes, interleaved by four.
SD_INLINE void bytes_store(int8_t* p, __m128i a, int64_t count) {
  count == 16 ? _mm_storeu_si128((__m128i*)p, a) : _mm_storel_epi64((__m128i*)p, a);
}
SD_INLINE void planes_store(int8_t* p, __m128i high, __m128i low, int64_t count) {
  _mm_storeu_si128((__m128i*)p, _mm_unpacklo_epi32(high, low));
  if (count == 16) _mm_storeu_si128((__m128i*)(p + 16), _mm_unpackhi_epi32(high, low));
}
#endif
