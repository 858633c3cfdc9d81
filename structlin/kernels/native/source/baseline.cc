// The inner loops for what every processor of this architecture has: SSE2 on x86, NEON on ARM.
#include "kernels.h"

#define LANES 4

namespace structlin {
namespace {
#include "vectors.inl"
#include "kernels.inl"
}  // namespace

extern const Kernels baseline = {"baseline", product, rows, codes, most, slots, slots_panel, blocks, lstm, gru};

}  // namespace structlin
