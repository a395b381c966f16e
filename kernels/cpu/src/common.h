// Number formats and small helpers. Everything is static: units compiled for different instruction
// sets must not share inline functions, or the linker may keep the one this processor cannot run.
#pragma once

#include <stdint.h>
#include <string.h>

#include <cstddef>

#define SD_INLINE static inline __attribute__((always_inline))
// An entry point of the C interface.
#define SD_API extern "C" __attribute__((visibility("default")))

namespace sd {

enum Dtype : int32_t { kF32 = 0, kBF16 = 1, kF16 = 2 };

SD_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
SD_INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
SD_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
SD_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

SD_INLINE float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

SD_INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

SD_INLINE float bf16_to_float(uint16_t value) { return bits_to_float((uint32_t)value << 16); }

// Round to nearest, ties to even; NaN stays NaN.
SD_INLINE uint16_t float_to_bf16(float value) {
  uint32_t bits = float_to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
  return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

SD_INLINE float half_to_float(uint16_t half) {
#if defined(__F16C__)
  return __builtin_ia32_vcvtph2ps((short __attribute__((vector_size(16)))){(short)half})[0];
#else
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) return bits_to_float(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  // Scaling by 2^112 rebiases the exponent and normalises subnormals in one step.
  const float value = bits_to_float(magnitude << 13) * bits_to_float(0x77800000u);
  return bits_to_float(float_to_bits(value) | sign);
#endif
}

// Round to nearest, ties to even.
SD_INLINE uint16_t float_to_half(float value) {
  const uint32_t bits = float_to_bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Adding 2^-1 puts the last bit of a subnormal half at the last bit of the sum.
    const float shifted = bits_to_float(magnitude) + 0.5f;
    return (uint16_t)(sign | (float_to_bits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

SD_INLINE float load_as_float(const void* data, int64_t index, int32_t dtype) {
  if (dtype == kF32) return ((const float*)data)[index];
  const uint16_t raw = ((const uint16_t*)data)[index];
  return dtype == kBF16 ? bf16_to_float(raw) : half_to_float(raw);
}

SD_INLINE void store_as(void* data, int64_t index, int32_t dtype, float value) {
  if (dtype == kF32) {
    ((float*)data)[index] = value;
  } else {
    ((uint16_t*)data)[index] = dtype == kBF16 ? float_to_bf16(value) : float_to_half(value);
  }
}

}  // namespace sd
