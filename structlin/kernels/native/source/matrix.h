// A matrix as the calls describe it: a short program of integers, and the arrays that it names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace structlin {

// An array of a call, dense and row-major.
struct Array {
  const void* data;
  int64_t count;
  enum Type { floats, bytes, shorts, words, other } type;
};

inline Width width(const Array& indices) {
  return indices.type == Array::bytes    ? Width::one
         : indices.type == Array::shorts ? Width::two
                                         : Width::four;
}

// What an integer of a program says comes next; `_program.py` writes the same numbers.
enum class Kind : int64_t {
  dense = 0,      // m n                     values (m, n)
  kronecker = 1,  // k, k times m n, order   k factors
  slots = 2,      // m k n                   values, indices (k, n)
  blocks = 3,     // m k blocks r c          values (k, blocks, r, c), indices (k, blocks)
  codes = 4,      // m n bits book           stream, table
  spread = 5,     // m n                     values (n): column j is row j's block times values[j]
  sum = 6,        // count, the terms
  product = 7,    // count, the factors
  columns = 8,    // count, the blocks side by side
};

struct Matrix {
  Kind kind;
  int64_t m, n;
  std::vector<int64_t> sizes;   // what the program says beside m and n
  std::vector<Array> arrays;
  std::vector<Matrix> parts;
};

// Reads a program and checks that the arrays are what it says, indices included.
//
// Throws std::invalid_argument.
Matrix read_matrix(const int64_t* program, size_t size, const std::vector<Array>& arrays);

// The numbers of room that `add_product` needs for so many rows.
int64_t room(const Matrix& matrix, int64_t rows);

// y (rows, of distance ldy) += x (rows, m) @ matrix.
void add_product(const Matrix& matrix, const float* x, int64_t rows, float* y, int64_t ldy,
                 float* room);

}  // namespace structlin
