// Vectors of floats as wide as the level's registers: kLanes of them.
// Comparisons follow x86: maximum(a, b) and minimum(a, b) give b if either is NaN.
// Included inside a level's namespace.

#if defined(__AVX512VNNI__)

typedef __m512 Vec;
constexpr int kLanes = 16;

SD_INLINE __mmask16 first_lanes(int64_t n) { return (__mmask16)((1u << n) - 1u); }
SD_INLINE Vec vec_set(float a) { return _mm512_set1_ps(a); }
SD_INLINE Vec vec_load(const float* p) { return _mm512_loadu_ps(p); }
SD_INLINE void vec_store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
// The first n (1 to kLanes - 1) lanes from memory, the others `fill`.
SD_INLINE Vec vec_load_first(const float* p, int64_t n, float fill) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), p);
}
SD_INLINE void vec_store_first(float* p, Vec a, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a);
}
SD_INLINE Vec vec_fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
SD_INLINE Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SD_INLINE Vec minimum(Vec a, Vec b) { return _mm512_min_ps(a, b); }
// a > b ? x : y
SD_INLINE Vec vec_choose(Vec a, Vec b, Vec x, Vec y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}
SD_INLINE Vec vec_round(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// a * 2^n for integral n
SD_INLINE Vec vec_scale2(Vec a, Vec n) { return _mm512_scalef_ps(a, n); }
// NaN counts as not zero.
SD_INLINE bool vec_any_nonzero(Vec a) {
  return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ) != 0;
}
// 1 where a is NaN, else 0
SD_INLINE Vec vec_nan_flags(Vec a) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), _mm512_set1_ps(1.0f));
}
SD_INLINE float vec_sum(Vec a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
// Sums in double of the low and the high half of the lanes, added lane by lane.
struct Doubles { __m512d low, high; };
SD_INLINE Doubles doubles_zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
SD_INLINE Doubles doubles_add(Doubles s, Vec a) {
  return {_mm512_add_pd(s.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a))),
          _mm512_add_pd(s.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)))};
}
SD_INLINE void doubles_store(double* p, Doubles s) {
  _mm512_storeu_pd(p, s.low);
  _mm512_storeu_pd(p + 8, s.high);
}
SD_INLINE Vec halves_to_vec(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
SD_INLINE void vec_to_halves(uint16_t* p, Vec a) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
// out[j] = sum of the lanes of a[j], for four vectors
SD_INLINE void store_sums(float* out, Vec a, Vec b, Vec c, Vec d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 low = _mm512_shuffle_ps(ab, cd, 0x44), high = _mm512_shuffle_ps(ab, cd, 0xee);
  const __m512 all = _mm512_add_ps(low, high);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#elif defined(__AVX2__)

typedef __m256 Vec;
constexpr int kLanes = 8;

SD_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SD_INLINE Vec vec_set(float a) { return _mm256_set1_ps(a); }
SD_INLINE Vec vec_load(const float* p) { return _mm256_loadu_ps(p); }
SD_INLINE void vec_store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
SD_INLINE Vec vec_load_first(const float* p, int64_t n, float fill) {
  const __m256i mask = first_lanes(n);
  return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask),
                          _mm256_castsi256_ps(mask));
}
SD_INLINE void vec_store_first(float* p, Vec a, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), a);
}
SD_INLINE Vec vec_fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
SD_INLINE Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
SD_INLINE Vec minimum(Vec a, Vec b) { return _mm256_min_ps(a, b); }
SD_INLINE Vec vec_choose(Vec a, Vec b, Vec x, Vec y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
SD_INLINE Vec vec_round(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SD_INLINE Vec power2(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// In two steps, so that results below 2^-126 and above 2^127 come out right.
SD_INLINE Vec vec_scale2(Vec a, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i part = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(a, power2(part)), power2(_mm256_sub_epi32(whole, part)));
}
SD_INLINE bool vec_any_nonzero(Vec a) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ)) != 0;
}
SD_INLINE Vec vec_nan_flags(Vec a) {
  return _mm256_and_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q), _mm256_set1_ps(1.0f));
}
SD_INLINE float vec_sum(Vec a) {
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
struct Doubles { __m256d low, high; };
SD_INLINE Doubles doubles_zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
SD_INLINE Doubles doubles_add(Doubles s, Vec a) {
  return {_mm256_add_pd(s.low, _mm256_cvtps_pd(_mm256_castps256_ps128(a))),
          _mm256_add_pd(s.high, _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)))};
}
SD_INLINE void doubles_store(double* p, Doubles s) {
  _mm256_storeu_pd(p, s.low);
  _mm256_storeu_pd(p + 4, s.high);
}
SD_INLINE Vec halves_to_vec(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
SD_INLINE void vec_to_halves(uint16_t* p, Vec a) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
SD_INLINE void store_sums(float* out, Vec a, Vec b, Vec c, Vec d) {
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

#else

typedef float Vec __attribute__((vector_size(16)));
typedef int32_t VecInts __attribute__((vector_size(16)));
constexpr int kLanes = 4;

SD_INLINE Vec vec_set(float a) { return Vec{a, a, a, a}; }
SD_INLINE Vec vec_load(const float* p) { Vec a; memcpy(&a, p, 16); return a; }
SD_INLINE void vec_store(float* p, Vec a) { memcpy(p, &a, 16); }
SD_INLINE Vec vec_load_first(const float* p, int64_t n, float fill) {
  Vec a = vec_set(fill);
  for (int64_t i = 0; i < n; ++i) a[i] = p[i];
  return a;
}
SD_INLINE void vec_store_first(float* p, Vec a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = a[i];
}
SD_INLINE Vec vec_fma(Vec a, Vec b, Vec c) { return a * b + c; }
SD_INLINE Vec vec_choose(Vec a, Vec b, Vec x, Vec y) {
  const VecInts mask = a > b;
  return (Vec)(((VecInts)x & mask) | ((VecInts)y & ~mask));
}
SD_INLINE Vec maximum(Vec a, Vec b) { return vec_choose(a, b, a, b); }
SD_INLINE Vec minimum(Vec a, Vec b) { return vec_choose(b, a, a, b); }
// For |a| < 2^22.
SD_INLINE Vec vec_round(Vec a) {
  const Vec magic = vec_set(12582912.0f);
  return (a + magic) - magic;
}
SD_INLINE Vec vec_scale2(Vec a, Vec n) {
  const VecInts whole = __builtin_convertvector(n, VecInts);
  const VecInts part = whole >> 1;
  return a * (Vec)((part + 127) << 23) * (Vec)((whole - part + 127) << 23);
}
SD_INLINE bool vec_any_nonzero(Vec a) {
  return !(a[0] == 0.0f && a[1] == 0.0f && a[2] == 0.0f && a[3] == 0.0f);
}
SD_INLINE Vec vec_nan_flags(Vec a) {
  return (Vec)((VecInts)(a != a) & (VecInts)vec_set(1.0f));
}
SD_INLINE float vec_sum(Vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
struct Doubles { double v[4]; };
SD_INLINE Doubles doubles_zero() { return Doubles{}; }
SD_INLINE Doubles doubles_add(Doubles s, Vec a) {
  for (int i = 0; i < 4; ++i) s.v[i] += (double)a[i];
  return s;
}
SD_INLINE void doubles_store(double* p, Doubles s) { memcpy(p, s.v, sizeof s.v); }
SD_INLINE Vec halves_to_vec(const uint16_t* p) {
  return Vec{half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
SD_INLINE void vec_to_halves(uint16_t* p, Vec a) {
  for (int i = 0; i < 4; ++i) p[i] = float_to_half(a[i]);
}
SD_INLINE void store_sums(float* out, Vec a, Vec b, Vec c, Vec d) {
  out[0] = vec_sum(a);
  out[1] = vec_sum(b);
  out[2] = vec_sum(c);
  out[3] = vec_sum(d);
}

#endif

SD_INLINE Vec vec_zero() { return vec_set(0.0f); }
SD_INLINE float vec_max(Vec a) {
  float lanes[kLanes];
  vec_store(lanes, a);
  float best = lanes[0];
  for (int i = 1; i < kLanes; ++i) best = best > lanes[i] ? best : lanes[i];
  return best;
}
SD_INLINE double doubles_sum(Doubles s) {
  double lanes[kLanes];
  doubles_store(lanes, s);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// e^x within 2e-7 of its value; 0 below -104, infinity above 89, NaN for NaN. Polynomial: Cephes.
SD_INLINE Vec vec_exp(Vec x) {
  x = maximum(vec_set(-104.0f), minimum(vec_set(89.0f), x));
  const Vec n = vec_round(x * vec_set(1.44269504088896341f));
  Vec r = vec_fma(n, vec_set(-0.693359375f), x);
  r = vec_fma(n, vec_set(2.12194440e-4f), r);
  Vec p = vec_set(1.9875691500e-4f);
  p = vec_fma(p, r, vec_set(1.3981999507e-3f));
  p = vec_fma(p, r, vec_set(8.3334519073e-3f));
  p = vec_fma(p, r, vec_set(4.1665795894e-2f));
  p = vec_fma(p, r, vec_set(1.6666665459e-1f));
  p = vec_fma(p, r, vec_set(5.0000001201e-1f));
  p = vec_fma(p, r * r, r);
  return vec_scale2(p + vec_set(1.0f), n);
}

// f(i, part) for i in [0, n) in steps of kLanes: part.load(p) takes kLanes floats at p, at the end
// the n - i that are left and else `fill`; part.store(p, v) likewise.
struct FullLanes {
  inline Vec load(const float* p, float = 0.0f) const { return vec_load(p); }
  inline void store(float* p, Vec a) const { vec_store(p, a); }
};
struct FirstLanes {
  int64_t n;
  inline Vec load(const float* p, float fill = 0.0f) const { return vec_load_first(p, n, fill); }
  inline void store(float* p, Vec a) const { vec_store_first(p, a, n); }
};
template <typename F>
SD_INLINE void each_lanes(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, FullLanes{});
  if (i < n) f(i, FirstLanes{n - i});
}
