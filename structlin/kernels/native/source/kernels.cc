// Which of the instruction sets is used.
#include "kernels.h"

#include <atomic>
#include <cstring>

namespace structlin {
namespace {

const Kernels* best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto avx512_too = [] {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  };
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx512_too() ? &avx512 : &avx2;
#endif
  return &baseline;
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> kernels{best()};
  return kernels;
}

}  // namespace

const Kernels& kernels() { return *chosen().load(std::memory_order_relaxed); }

const Kernels* choose(const char* name) {
  const Kernels* all[] = {&baseline,
#if defined(__x86_64__)
                          &avx2, &avx512
#endif
  };
  for (const Kernels* one : all) {
    if (std::strcmp(one->name, name) == 0) {
      chosen().store(one);
      return one;
    }
    if (one == best()) break;  // what follows it needs more than this processor has
  }
  return nullptr;
}

}  // namespace structlin
