// Working memory of one thread that calls the C interface; kept between calls.
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "common.h"

namespace sd {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { free(data_); }

  // At least `bytes` bytes at a multiple of 64; null if there is no memory. What it held before
  // is lost when it grows.
  void* get(int64_t bytes) {
    if (bytes > size_) {
      free(data_);
      size_ = round_up(bytes + bytes / 4, 4096);
      data_ = aligned_alloc(64, (size_t)size_);
      if (!data_) size_ = 0;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace sd
