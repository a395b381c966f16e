// Activations as the linear kernels read them. For weights on a grid: per row and group, symmetric,
// 16 bits as two planes of bytes (x = scale * (256 high + low)), or 8 or 4 bits as one plane; with
// 16 bits the error is at most 2^-16 of the group's largest magnitude. For bf16 weights: bf16, or
// two bf16 whose sum has 16 significant bits, where the processor multiplies bf16; else float32.
// A row with a number that is not finite gets NaN scales, which make all its outputs NaN.
// Included inside a level's namespace.

constexpr int kMaxPlane16 = 127 * 256 + 127;

// Codes times 16-bit activations stay below 2^31 up to these group sizes.
SD_INLINE bool sums_fit(int32_t bits, int32_t group) { return group <= (bits == 4 ? 4096 : 256); }

#if defined(__AVX512BF16__)
constexpr bool kMultipliesBf16 = true;
#else
constexpr bool kMultipliesBf16 = false;
#endif

// Where the parts of a buffer of m prepared rows for one matrix begin.
struct RowsView {
  int32_t planes;         // 1 or 2
  int64_t k, groups;      // k padded to a multiple of 4
  const int8_t* codes;    // [m, k], or [m, k / 4, 2, 4] with two planes: high, low
  const uint16_t* bf16;   // [planes, m, k]
  const float* floats;    // [m, k]
  const float* scales;    // [m, groups]
  // [m, groups]: what a group's middle or zero points add, from the sum of its codes (256 high +
  // low): for symmetric weights -middle * sum, to add to the sums of products (a float where those
  // do not fit, see sums_fit); for zero points -sum, to add times the zero point; for offsets
  // scale * sum, to add times the offset.
  const int32_t* shifts;
  const float* offsets;
  int64_t bytes;
};

static RowsView rows_view(const Matrix& w, int32_t activation_bits, int64_t m, const void* buffer) {
  RowsView v{};
  const int8_t* base = (const int8_t*)buffer;
  v.k = round_up(w.k, 4);
  const int64_t plane = round_up(m * v.k, 64);
  v.planes = activation_bits == 16 ? 2 : 1;
  if (w.bits == 32 || (w.bits == 16 && !kMultipliesBf16)) {
    v.floats = (const float*)base;
    v.bytes = plane * 4;
  } else if (w.bits == 16) {
    v.bf16 = (const uint16_t*)base;
    v.bytes = plane * 2 * v.planes;
  } else {
    v.groups = w.k / w.group;
    const int64_t numbers = round_up(m * v.groups * 4, 64);
    v.codes = base;
    v.scales = (const float*)(base + v.planes * plane);
    v.shifts = (const int32_t*)(base + v.planes * plane + numbers);
    v.offsets = (const float*)v.shifts;
    v.bytes = v.planes * plane + 2 * numbers;
  }
  return v;
}

static int64_t gather_bytes(const Linear& layer, int64_t m) {
  const int64_t k = layer.main.k + (layer.tail.n ? layer.tail.k : 0);
  return layer.order ? round_up(m * k * 4, 64) : 0;
}

static int64_t rows_bytes(const Linear& layer, int64_t m) {
  int64_t bytes = rows_view(layer.main, layer.activation_bits, m, nullptr).bytes;
  if (layer.tail.n) bytes += rows_view(layer.tail, 8, m, nullptr).bytes;
  return bytes + gather_bytes(layer, m);
}

// f(numbers, at, count) over the numbers x[at] of a group, sixteen at a time; the rest are 8, with
// zeros behind them.
template <typename F>
SD_INLINE void each_sixteen(const float* x, int64_t n, F&& f) {
  int64_t at = 0;
  for (; at + 16 <= n; at += 16) f(floats_load(x + at), at, 16);
  if (at == n) return;
  float rest[16] = {};
  memcpy(rest, x + at, 32);
  f(floats_load(rest), at, 8);
}

// Largest magnitude; infinity or NaN if any of them is not finite.
SD_INLINE float magnitude(const float* x, int64_t n) {
  Ints most = ints_set(0);  // magnitudes compare as their bits do
  each_sixteen(x, n, [&](Floats a, int64_t, int64_t) { most = ints_max(most, magnitude_bits(a)); });
  return bits_to_float((uint32_t)largest_of(most));
}

// One group of one plane. Returns the sum of the codes.
SD_INLINE int32_t quantize_plane(const float* x, int64_t n, float inverse, float least,
                                 float most, int8_t* out) {
  const Floats factor = floats_set(inverse), low = floats_set(least), high = floats_set(most);
  Ints sum = ints_set(0);
  each_sixteen(x, n, [&](Floats a, int64_t at, int64_t count) {
    const Ints code = nearest(floats_min(floats_max(floats_mul(a, factor), low), high));
    bytes_store(out + at, low_bytes(code), count);
    sum = ints_add(sum, code);
  });
  return sum_of(sum);
}

// Both planes of one group, interleaved by four columns.
SD_INLINE int32_t quantize_planes(const float* x, int64_t n, float inverse, int8_t* out) {
  const Floats factor = floats_set(inverse);
  Ints sum = ints_set(0);
  each_sixteen(x, n, [&](Floats a, int64_t at, int64_t count) {
    const Ints code = nearest(floats_mul(a, factor));
    planes_store(out + 2 * at, high_plane(code), low_bytes(code), count);
    sum = ints_add(sum, code);
  });
  return sum_of(sum);
}

static void quantize_row(const Matrix& w, const RowsView& v, int32_t activation_bits, float clip,
                         const float* x, int64_t row) {
  int8_t* codes = (int8_t*)v.codes + row * v.k * v.planes;
  float* scales = (float*)v.scales + row * v.groups;
  int32_t* shifts = (int32_t*)v.shifts + row * v.groups;
  float* offsets = (float*)v.offsets + row * v.groups;
  const float levels = activation_bits == 16 ? kMaxPlane16 : activation_bits == 8 ? 127.0f : 7.0f;
  // Step by step for all groups: what one waits for does not hold up the others.
  bool finite = true;
  for (int64_t g = 0; g < v.groups; ++g) {
    scales[g] = magnitude(x + g * w.group, w.group);
    finite = finite && scales[g] < INFINITY;
  }
  if (!finite) {
    memset(codes, 0, (size_t)(v.k * v.planes));
    memset(shifts, 0, (size_t)v.groups * 4);  // and so are offsets
    for (int64_t g = 0; g < v.groups; ++g) scales[g] = NAN;
    return;
  }
  for (int64_t g = 0; g < v.groups; ++g) {
    const float largest = activation_bits == 4 ? scales[g] * clip : scales[g];
    // Below this the inverse would overflow; such numbers are zero beside anything else.
    const bool tiny = largest <= 1e-30f;
    scales[g] = tiny ? 0.0f : largest / levels;
    offsets[g] = tiny ? 0.0f : levels / largest;
  }
  const float least = activation_bits == 8 ? -127.0f : -8.0f;
  for (int64_t g = 0; g < v.groups; ++g) {
    const float* part = x + g * w.group;
    int8_t* out = codes + g * w.group * v.planes;
    const float inverse = offsets[g];
    const int32_t sum = activation_bits == 16
                            ? quantize_planes(part, w.group, inverse, out)
                            : quantize_plane(part, w.group, inverse, least, levels, out);
    const int32_t middle = w.bits == 4 ? 8 : 128;
    if (w.zero_kind == kSymmetric && sums_fit(w.bits, w.group)) {
      shifts[g] = -middle * sum;
    } else if (w.zero_kind == kSymmetric) {
      offsets[g] = -(float)middle * (float)sum;
    } else {
      offsets[g] = w.zero_kind == kZeroPoints ? -(float)sum : scales[g] * (float)sum;
    }
  }
}

static void prepare_row(const Matrix& w, const RowsView& v, int32_t activation_bits, float clip,
                        const float* x, int64_t row, int64_t m) {
  if (v.floats) {
    float* out = (float*)v.floats + row * v.k;
    memcpy(out, x, (size_t)w.k * 4);
    for (int64_t c = w.k; c < v.k; ++c) out[c] = 0.0f;
  } else if (v.bf16) {
    uint16_t* out = (uint16_t*)v.bf16 + row * v.k;
    uint16_t* rest = out + m * v.k;
    for (int64_t c = 0; c < w.k; ++c) out[c] = float_to_bf16(x[c]);
    for (int64_t c = w.k; c < v.k; ++c) out[c] = 0;
    if (v.planes == 2) {
      for (int64_t c = 0; c < w.k; ++c) {
        const float left = x[c] - bf16_to_float(out[c]);
        rest[c] = float_to_bf16(left == left ? left : 0.0f);
      }
      for (int64_t c = w.k; c < v.k; ++c) rest[c] = 0;
    }
  } else {
    quantize_row(w, v, activation_bits, clip, x, row);
  }
}

static void prepare_rows(const Linear& layer, const float* x, int64_t ldx, int64_t m,
                         void* buffer) {
  const RowsView main = rows_view(layer.main, layer.activation_bits, m, buffer);
  uint8_t* after = (uint8_t*)buffer + main.bytes;
  const RowsView tail = layer.tail.n ? rows_view(layer.tail, 8, m, after) : RowsView{};
  float* gathered = (float*)(after + tail.bytes);
  const int64_t k = layer.main.k + (layer.tail.n ? layer.tail.k : 0);
  parallel_for(m, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* source = x + row * ldx;
      if (layer.order) {
        float* reordered = gathered + row * k;
        for (int64_t c = 0; c < k; ++c) reordered[c] = source[layer.order[c]];
        source = reordered;
      }
      prepare_row(layer.main, main, layer.activation_bits, layer.clip, source, row, m);
      if (layer.tail.n) {
        prepare_row(layer.tail, tail, 8, 1.0f, source + layer.main.k, row, m);
      }
    }
  });
}
