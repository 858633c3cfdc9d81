// The inner loops for x86 processors with AVX2 and FMA.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// After the headers, so that nothing of theirs is compiled for these instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define LANES 8

namespace structlin {
namespace {
#include "vectors.inl"
#include "kernels.inl"
}  // namespace

extern const Kernels avx2 = {"avx2", product, rows, codes, most, slots, slots_panel, blocks, lstm, gru};

}  // namespace structlin

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
