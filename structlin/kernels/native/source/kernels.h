// The inner loops, once for each instruction set, and which of them this processor runs.
//
// Every array is dense and every loop adds to `y`, so that the terms of a sum need no room of their
// own. Nothing here checks sizes: `matrix.cc` has done so.
#pragma once

#include <cstdint>
#include <type_traits>

namespace structlin {

// The bytes of an index.
enum class Width { one = 1, two = 2, four = 4 };

// How the levels of coded numbers follow from their codes: `base + step * (code - offset)`, or
// `levels[code]` where there are levels.
struct Levels {
  float base, step;
  int32_t offset;
  const float* levels;
};

struct Kernels {
  const char* name;

  // out (rows, n) = left @ right (depth, n), added to `out` with `add`;
  // left[r, k] stands at left[r * row + k * column].
  void (*product)(const float* left, int64_t row, int64_t column, int64_t rows, const float* right,
                  int64_t depth, int64_t n, float* out, bool add);

  // y (rows of distance ldy) += x (rows, m) @ w (m, n), for few rows: w is read once, in order.
  void (*rows)(const float* x, int64_t ldx, int64_t rows, const float* w, int64_t m, int64_t n,
               float* y, int64_t ldy);

  // y += x (m) @ levels (m, n), coded row by row in 4 or 8 bits; n is even if they have 4.
  void (*codes)(const float* x, const uint8_t* stream, int64_t m, int64_t n, int bits,
                Levels levels, float* y);

  // The largest of some indices, at least one.
  uint32_t (*most)(const void* index, Width width, int64_t count);

  // y[j] += sum over s of x[index[s, j]] * values[s, j], of (k, n) slots; one row.
  void (*slots)(const float* x, const float* values, const void* index, Width width, int64_t k,
                int64_t n, float* y);

  // The same of `panel` rows at a time: xt (m, panel) has them side by side.
  void (*slots_panel)(const float* xt, int64_t rows, const float* values, const void* index,
                      Width width, int64_t k, int64_t n, float* y, int64_t ldy);

  // y[b, :] += sum over s of x[r * index[s, b] + i] * values[s, b, i, :], of (k, blocks, r, c).
  void (*blocks)(const float* x, int64_t ldx, int64_t rows, const float* values, const void* index,
                 Width width, int64_t k, int64_t blocks, int64_t r, int64_t c, float* y,
                 int64_t ldy);

  // The new state of one row of an LSTM; z is (4 h) in the order i, f, g, o.
  void (*lstm)(const float* z, int64_t h, float* c, float* state);

  // The new state of one row of a GRU; both sides are (3 h) in the order r, z, n.
  void (*gru)(const float* projected, const float* hidden, int64_t h, float* state);
};

// The rows that `slots_panel` takes at a time.
constexpr int64_t panel = 32;

extern const Kernels baseline;
#if defined(__x86_64__)
extern const Kernels avx2, avx512;
#endif

// The best of them that this processor has, or the one chosen by `choose`.
const Kernels& kernels();

// Chooses one by name, for tests; null if this processor has none of that name.
const Kernels* choose(const char* name);

}  // namespace structlin
