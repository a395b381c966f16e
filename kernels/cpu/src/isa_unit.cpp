// Compiled once per instruction-set level, with SD_ISA naming the level.
#include "lora.h"
#include "ops.h"
#include "pool.h"

#include <math.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SD_JOIN_(a, b) a##b
#define SD_JOIN(a, b) SD_JOIN_(a, b)
#define SD_TEXT_(a) #a
#define SD_TEXT(a) SD_TEXT_(a)

namespace sd {
namespace SD_ISA {
// clang-format off
#include "linear.inl.h"
#include "elementwise.inl.h"
#include "attention.inl.h"
#include "sampling.inl.h"
#include "lora.inl.h"
// clang-format on
}  // namespace SD_ISA

// A function and not a constant: nothing of this level may run before the processor is known.
void SD_JOIN(fill_ops_, SD_ISA)(Ops& ops) {
  ops.name = SD_TEXT(SD_ISA);
  SD_ISA::fill_linear(ops);
  SD_ISA::fill_elementwise(ops);
  SD_ISA::fill_attention(ops);
  SD_ISA::fill_sampling(ops);
  SD_ISA::fill_lora(ops);
}

}  // namespace sd
