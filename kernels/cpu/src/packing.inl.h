// The packed layout of weights. A tile is kTile output rows, and its bytes are consecutive:
//   bits 4:  for every 8 columns 64 bytes: byte 4 r + j holds, of row r, column j in its low and
//            column 4 + j in its high nibble
//   bits 8:  for every 4 columns 64 bytes: byte 4 r + j holds column j of row r, plus 128
//   bits 16: for every 2 columns 64 bytes: bf16 2 r + j
//   bits 32: for every column 64 bytes: float r
// then, for bits 4 and 8, [groups][16] float16 scales and [groups][16] zeros (uint8 zero points
// or float16 offsets). Tiles begin at multiples of 64 bytes. Rows past n are zero.
// Included inside a level's namespace.

SD_INLINE int64_t code_bytes(int64_t k, int32_t bits) {
  if (bits == 4) return k / 8 * 64;
  if (bits == 8) return k / 4 * 64;
  return bits == 16 ? ceil_div(k, 2) * 64 : k * 64;
}

SD_INLINE int64_t zero_bytes(int32_t zero_kind) {
  return zero_kind == kZeroPoints ? 16 : zero_kind == kOffsets ? 32 : 0;
}

SD_INLINE int64_t tile_bytes(int64_t k, int32_t group, int32_t bits, int32_t zero_kind) {
  const int64_t groups = bits <= 8 ? k / group : 0;
  return round_up(code_bytes(k, bits) + groups * (32 + zero_bytes(zero_kind)), 64);
}

SD_INLINE int64_t tile_bytes(const Matrix& w) {
  return tile_bytes(w.k, w.group, w.bits, w.zero_kind);
}

static int64_t matrix_bytes(int32_t n, int32_t k, int32_t group, int32_t bits, int32_t zero_kind) {
  return ceil_div(n, kTile) * tile_bytes(k, group, bits, zero_kind);
}

static void pack_matrix(const void* codes, const uint16_t* scales, const void* zeros, int32_t n,
                        int32_t k, int32_t group, int32_t bits, int32_t zero_kind, uint8_t* out) {
  const int64_t tiles = ceil_div(n, kTile), size = tile_bytes(k, group, bits, zero_kind);
  memset(out, 0, (size_t)(tiles * size));
  const int64_t groups = bits <= 8 ? k / group : 0;
  for (int64_t row = 0; row < n; ++row) {
    uint8_t* tile = out + row / kTile * size;
    const int64_t r = row % kTile;
    if (bits == 4) {
      const uint8_t* source = (const uint8_t*)codes + row * (k / 2);
      for (int64_t c = 0; c < k; ++c) {
        const uint8_t code = (source[c / 2] >> (c % 2 * 4)) & 15;
        tile[c / 8 * 64 + r * 4 + c % 4] |= (uint8_t)(code << (c % 8 / 4 * 4));
      }
    } else if (bits == 8) {
      const int8_t* source = (const int8_t*)codes + row * k;
      for (int64_t c = 0; c < k; ++c) {
        tile[c / 4 * 64 + r * 4 + c % 4] = (uint8_t)(source[c] + 128);
      }
    } else if (bits == 16) {
      const uint16_t* source = (const uint16_t*)codes + row * k;
      for (int64_t c = 0; c < k; ++c) {
        ((uint16_t*)tile)[c / 2 * 32 + r * 2 + c % 2] = source[c];
      }
    } else {
      const float* source = (const float*)codes + row * k;
      for (int64_t c = 0; c < k; ++c) ((float*)tile)[c * 16 + r] = source[c];
    }
    uint16_t* tile_scales = (uint16_t*)(tile + code_bytes(k, bits));
    uint8_t* tile_zeros = (uint8_t*)(tile_scales + groups * 16);
    for (int64_t g = 0; g < groups; ++g) {
      tile_scales[g * 16 + r] = scales[row * groups + g];
      if (zero_kind == kZeroPoints) {
        tile_zeros[g * 16 + r] = ((const uint8_t*)zeros)[row * groups + g];
      } else if (zero_kind == kOffsets) {
        ((uint16_t*)tile_zeros)[g * 16 + r] = ((const uint16_t*)zeros)[row * groups + g];
      }
    }
  }
}

static void matrix_row(const Matrix& w, int64_t row, float* out) {
  const uint8_t* tile = w.data + row / kTile * tile_bytes(w);
  const int64_t r = row % kTile;
  const int64_t groups = w.bits <= 8 ? w.k / w.group : 0;
  const uint16_t* scales = (const uint16_t*)(tile + code_bytes(w.k, w.bits));
  const uint8_t* zeros = (const uint8_t*)(scales + groups * 16);
  if (w.bits == 16) {
    for (int64_t c = 0; c < w.k; ++c) {
      out[c] = bf16_to_float(((const uint16_t*)tile)[c / 2 * 32 + r * 2 + c % 2]);
    }
  } else if (w.bits == 32) {
    for (int64_t c = 0; c < w.k; ++c) out[c] = ((const float*)tile)[c * 16 + r];
  }
  for (int64_t g = 0; g < groups; ++g) {
    const float scale = half_to_float(scales[g * 16 + r]);
    // w = scale * (code - middle) + offset
    float middle = w.bits == 4 ? 8.0f : 128.0f, offset = 0.0f;
    if (w.zero_kind == kZeroPoints) middle = zeros[g * 16 + r];
    if (w.zero_kind == kOffsets) {
      middle = 0.0f;
      offset = half_to_float(((const uint16_t*)zeros)[g * 16 + r]);
    }
    for (int64_t c = g * w.group; c < (g + 1) * w.group; ++c) {
      const uint8_t byte = w.bits == 4 ? tile[c / 8 * 64 + r * 4 + c % 4]
                                       : tile[c / 4 * 64 + r * 4 + c % 4];
      const int code = w.bits == 4 ? (byte >> (c % 8 / 4 * 4)) & 15 : byte;
      out[c] = scale * ((float)code - middle) + offset;
    }
  }
}
