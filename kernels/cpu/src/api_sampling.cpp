// C interface of sampling. Results: 0, 1 (no memory) or 2 (bad argument).
#include "ops.h"

using namespace sd;

// out [rows] from logits [rows, vocabulary] (row stride ld) of floats.
SD_API int sd_sample(const float* logits, int64_t ld, int64_t rows, int32_t vocabulary,
                     const double* draws, const float* temperature, const float* top_p,
                     int64_t* out) {
  for (int64_t r = 0; r < rows; ++r) {
    // Negated, so that NaN is an error too.
    if (!(draws[r] >= 0.0 && draws[r] < 1.0)) {
      set_error("draw %g of row %lld is not in [0, 1)", draws[r], (long long)r);
      return 2;
    }
    if (!(temperature[r] >= 0.0f)) {
      set_error("temperature %g of row %lld is negative", temperature[r], (long long)r);
      return 2;
    }
    if (!(top_p[r] > 0.0f)) {
      set_error("top_p %g of row %lld is not positive", top_p[r], (long long)r);
      return 2;
    }
  }
  const int64_t bad = ops()->sample(logits, ld, rows, vocabulary, draws, temperature, top_p, out);
  if (bad == -2) set_error("no memory to sample %lld rows", (long long)rows);
  if (bad >= 0) set_error("logits of row %lld are not finite", (long long)bad);
  return bad == -1 ? 0 : bad == -2 ? 1 : 2;
}
