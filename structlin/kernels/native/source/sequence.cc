#include "sequence.h"

#include <algorithm>

namespace structlin {
namespace {

int64_t gates(const Sequence& s) { return s.cell == Cell::lstm ? 4 : 3; }

}  // namespace

int64_t room(const Matrix& recurrent, const Sequence& s) {
  return s.rows * s.h * gates(s) + room(recurrent, s.rows);
}

void run(const Matrix& recurrent, const Sequence& s, float* room) {
  const Kernels& use = kernels();
  const int64_t width = gates(s) * s.h, step = s.rows * width;
  float *hidden = room, *rest = room + step;
  const float* state = s.start;
  for (int64_t t = 0; t < s.steps; ++t) {
    const float* projected = s.projected + t * step;
    float* next = s.outputs + t * s.rows * s.h;
    if (s.cell == Cell::lstm) {
      std::copy_n(projected, step, hidden);
    } else {
      std::fill_n(hidden, step, 0.0f);
      for (int64_t i = 0; s.bias && i < s.rows; ++i)
        std::copy_n(s.bias, s.h, hidden + i * width + 2 * s.h);
    }
    add_product(recurrent, state, s.rows, hidden, width, rest);
    for (int64_t i = 0; i < s.rows; ++i) {
      const int64_t at = i * s.h;
      if (s.cell == Cell::lstm) {
        use.lstm(hidden + i * width, s.h, s.memory + at, next + at);
      } else {
        std::copy_n(state + at, s.h, next + at);
        use.gru(projected + i * width, hidden + i * width, s.h, next + at);
      }
    }
    state = next;
  }
}

}  // namespace structlin
