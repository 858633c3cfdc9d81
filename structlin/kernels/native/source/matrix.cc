// The product of rows with a matrix, by the inner loops of its parts.
#include "matrix.h"

#include <algorithm>

namespace structlin {
namespace {

const float* floats(const Matrix& w, size_t i) { return static_cast<const float*>(w.arrays[i].data); }

// The most numbers that a row of a Kronecker product has between two factors.
int64_t between(const Matrix& w) {
  const int64_t* shapes = w.sizes.data();
  const size_t count = w.arrays.size();
  int64_t now = w.m, most = 0;
  for (size_t i = 0; i + 1 < count; ++i) {
    const int64_t factor = w.sizes[2 * count + i];
    now = now / std::max<int64_t>(shapes[2 * factor], 1) * shapes[2 * factor + 1];
    most = std::max(most, now);
  }
  return most;
}

// One row: each factor along its own axis, in the given order.
void kronecker(const Kernels& kernels, const Matrix& w, const float* x, float* y, float* room) {
  const size_t count = w.arrays.size();
  int64_t sizes[16];
  for (size_t i = 0; i < count; ++i) sizes[i] = w.sizes[2 * i];
  float* other = room + between(w);
  for (size_t step = 0; step < count; ++step) {
    const size_t i = w.sizes[2 * count + step];
    const bool last = step + 1 == count;
    float* out = last ? y : room;
    const int64_t m = sizes[i], n = w.sizes[2 * i + 1];
    int64_t before = 1, after = 1;
    for (size_t j = 0; j < count; ++j) (j < i ? before : after) *= j == i ? 1 : sizes[j];
    if (after == 1) {
      kernels.product(x, m, 1, before, floats(w, i), m, n, out, last);
    } else {
      for (int64_t b = 0; b < before; ++b)
        kernels.product(floats(w, i), 1, n, n, x + b * m * after, m, after, out + b * n * after,
                        last);
    }
    sizes[i] = n;
    x = out;
    std::swap(room, other);
  }
}

void slots(const Kernels& kernels, const Matrix& w, const float* x, int64_t rows, float* y,
           int64_t ldy, float* room) {
  const Array& index = w.arrays[1];
  const int64_t k = w.sizes[0];
  if (rows < 4) {
    for (int64_t i = 0; i < rows; ++i)
      kernels.slots(x + i * w.m, floats(w, 0), index.data, width(index), k, w.n, y + i * ldy);
    return;
  }
  for (int64_t i = 0; i < rows; i += panel) {
    const int64_t count = std::min(panel, rows - i);
    for (int64_t r = 0; r < panel; ++r)
      for (int64_t j = 0; j < w.m; ++j)
        room[j * panel + r] = r < count ? x[(i + r) * w.m + j] : 0.0f;
    kernels.slots_panel(room, count, floats(w, 0), index.data, width(index), k, w.n, y + i * ldy,
                        ldy);
  }
}

Levels levels(const Matrix& w) {
  const float* table = floats(w, 1);
  const int32_t half = (1 << (w.sizes[0] - 1)) - 1;
  if (w.sizes[1] == 1) return {0.0f, table[0], half, nullptr};
  if (w.sizes[1] == 2) return {table[0], table[1], 0, nullptr};
  return {0.0f, 0.0f, 0, table};
}

void codes(const Kernels& kernels, const Matrix& w, const float* x, int64_t rows, float* y,
           int64_t ldy) {
  const Levels level = levels(w);
  const auto* stream = static_cast<const uint8_t*>(w.arrays[0].data);
  for (int64_t i = 0; i < rows; ++i)
    kernels.codes(x + i * w.m, stream, w.m, w.n, static_cast<int>(w.sizes[0]), level, y + i * ldy);
}

// Blocks of columns as even as can be, the larger first, as `decompose.rank_block_sizes` has them.
void spread(const Matrix& w, const float* x, int64_t rows, float* y, int64_t ldy) {
  const int64_t least = w.n / w.m, larger = w.n % w.m;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t j = 0;
    for (int64_t block = 0; block < w.m; ++block) {
      const float value = x[i * w.m + block];
      const int64_t end = j + least + (block < larger);
      for (; j < end; ++j) y[i * ldy + j] += value * floats(w, 0)[j];
    }
  }
}

void chain(const Matrix& w, const float* x, int64_t rows, float* y, int64_t ldy, float* room) {
  for (size_t i = 0; i + 1 < w.parts.size(); ++i) {
    const int64_t n = w.parts[i].n;
    float* between = room;
    room += rows * n;
    std::fill_n(between, rows * n, 0.0f);
    add_product(w.parts[i], x, rows, between, n, room);
    x = between;
  }
  add_product(w.parts.back(), x, rows, y, ldy, room);
}

}  // namespace

int64_t room(const Matrix& w, int64_t rows) {
  int64_t inside = 0, kept = 0;
  for (size_t i = 0; i < w.parts.size(); ++i) {
    inside = std::max(inside, room(w.parts[i], rows));
    if (w.kind == Kind::product && i + 1 < w.parts.size()) kept += rows * w.parts[i].n;
  }
  if (w.kind == Kind::kronecker) return 2 * between(w);
  if (w.kind == Kind::slots) return rows < 4 ? 0 : w.m * panel;
  return inside + kept;
}

void add_product(const Matrix& w, const float* x, int64_t rows, float* y, int64_t ldy,
                 float* room) {
  const Kernels& use = kernels();
  switch (w.kind) {
    case Kind::dense:
      use.rows(x, w.m, rows, floats(w, 0), w.m, w.n, y, ldy);
      break;
    case Kind::kronecker:
      for (int64_t i = 0; i < rows; ++i) kronecker(use, w, x + i * w.m, y + i * ldy, room);
      break;
    case Kind::slots: slots(use, w, x, rows, y, ldy, room); break;
    case Kind::blocks:
      use.blocks(x, w.m, rows, floats(w, 0), w.arrays[1].data, width(w.arrays[1]), w.sizes[0],
                 w.sizes[1], w.sizes[2], w.sizes[3], y, ldy);
      break;
    case Kind::codes: codes(use, w, x, rows, y, ldy); break;
    case Kind::spread: spread(w, x, rows, y, ldy); break;
    case Kind::sum:
      for (const Matrix& term : w.parts) add_product(term, x, rows, y, ldy, room);
      break;
    case Kind::product: chain(w, x, rows, y, ldy, room); break;
    case Kind::columns:
      for (const Matrix& part : w.parts) {
        add_product(part, x, rows, y, ldy, room);
        y += part.n;
      }
      break;
  }
}

}  // namespace structlin
