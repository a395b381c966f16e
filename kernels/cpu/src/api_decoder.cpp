// C interface of the decoder.
#include <new>

#include "decoder.h"

using namespace sd;

// What `model` points to is copied; what its layers point to must outlive the decoder. Null if
// there is no memory.
SD_API void* sd_decoder_create(const DecoderModel* model) {
  return new (std::nothrow) Decoder(*model);
}

SD_API void sd_decoder_free(void* decoder) { delete (Decoder*)decoder; }

// 0, 1 for no memory, 2 for a batch that does not fit.
SD_API int sd_decoder_step(void* decoder, const StepBatch* batch) {
  return ((Decoder*)decoder)->step(*batch);
}

// Whether later steps are timed; forgets what was booked.
SD_API void sd_decoder_set_timing(void* decoder, int on) {
  ((Decoder*)decoder)->set_timing(on != 0);
}

// Names of what time is booked on, with spaces between them.
SD_API const char* sd_decoder_kinds() { return kKindNames; }

// Nanoseconds booked on each kind.
SD_API void sd_decoder_times(const void* decoder, int64_t* out) {
  const int64_t* booked = ((const Decoder*)decoder)->nanoseconds();
  for (int32_t i = 0; i < kKinds; ++i) out[i] = booked[i];
}

// 0, or 2 if page tables of `ranks` rows lead out of the pool of `pages` pages.
// Targets without tables are passed over.
SD_API int sd_lora_check(const LoraSegments* segments, const LoraTarget* targets, int64_t count,
                         int64_t ranks, int64_t pages) {
  const char* fault = lora_fault(*segments, INT32_MAX, ranks);
  for (int64_t i = 0; !fault && i < count; ++i) {
    if (targets[i].a_pages) fault = lora_fault(targets[i], segments->page_size, ranks, pages);
  }
  if (!fault) return 0;
  set_error("adapters: %s", fault);
  return 2;
}
