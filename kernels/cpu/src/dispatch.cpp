// Which instruction-set level this processor runs.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "pool.h"

namespace sd {

void fill_ops_plain(Ops&);
#if defined(__x86_64__)
void fill_ops_avx2(Ops&);
void fill_ops_avx512(Ops&);
void fill_ops_avx512bf16(Ops&);
#endif

namespace {

thread_local char error_text[512] = "";

struct Level {
  const char* name;
  void (*fill)(Ops&);
  bool (*runs)();
};

// Best first.
const Level levels[] = {
#if defined(__x86_64__)
    {"avx512bf16", &fill_ops_avx512bf16,
     [] {
       return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
     }},
    {"avx512", &fill_ops_avx512,
     [] {
       return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("fma");
     }},
    {"avx2", &fill_ops_avx2,
     [] {
       return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("f16c");
     }},
#endif
    {"plain", &fill_ops_plain, [] { return true; }},
};

Ops table;
const Ops* chosen = nullptr;

}  // namespace

void set_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error_text, sizeof error_text, format, arguments);
  va_end(arguments);
}

const Ops* ops() { return chosen; }

}  // namespace sd

using namespace sd;

SD_API const char* sd_last_error() { return error_text; }

// Must be called before anything else; null or "" takes the best level. 0, or 1 with an error.
SD_API int sd_select(const char* level) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  const bool any = level == nullptr || *level == 0;
  for (const Level& one : levels) {
    if (!any && strcmp(level, one.name) != 0) continue;
    if (one.runs()) {
      if (!chosen || strcmp(chosen->name, one.name) != 0) {
        one.fill(table);
        chosen = &table;
      }
      return 0;
    }
    if (!any) {
      set_error("this processor cannot run the level %s", level);
      return 1;
    }
  }
  set_error("no level is called %s: use plain, avx2, avx512 or avx512bf16", level);
  return 1;
}

SD_API const char* sd_level() { return chosen ? chosen->name : ""; }

// 1 if this processor runs the level.
SD_API int sd_runs(const char* level) {
  for (const Level& one : levels) {
    if (strcmp(level, one.name) == 0) return one.runs() ? 1 : 0;
  }
  return 0;
}

SD_API void sd_set_num_threads(int threads) { set_num_threads(threads); }

SD_API int sd_num_threads() { return num_threads(); }
