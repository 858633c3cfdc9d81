// Whole sequences of a recurrent layer, the inputs' projection done.
#pragma once

#include "matrix.h"

namespace structlin {

enum class Cell : int64_t { lstm = 0, gru = 1 };

// What a sequence reads and writes; time comes first, then `rows` sequences side by side.
struct Sequence {
  Cell cell;
  int64_t steps, rows, h;
  const float* projected;  // (steps, rows, gates h)
  const float* bias;       // GRU: of the candidate's hidden product, (h), or null
  const float* start;      // the hidden state before, (rows, h)
  float* memory;           // LSTM: c, (rows, h): that before, then that after
  float* outputs;          // the hidden states, (steps, rows, h)
};

// The numbers of room that `run` needs.
int64_t room(const Matrix& recurrent, const Sequence& sequence);

void run(const Matrix& recurrent, const Sequence& sequence, float* room);

}  // namespace structlin
