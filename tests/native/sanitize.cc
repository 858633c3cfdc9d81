// Every kind of matrix and both cells against plain loops, and programs with errors in them.
//
// Arrays are as long as they must be and not one number longer, so that a sanitizer sees every
// step beyond them. The exit status is the number of failures.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "sequence.h"

using namespace structlin;

namespace {

int failures = 0;
std::mt19937 random_bits(0);

int64_t below(int64_t limit) { return limit > 0 ? static_cast<int64_t>(random_bits() % limit) : 0; }
float number() { return static_cast<float>(below(2001) - 1000) / 1000; }

// A matrix in the making: its program, its arrays, and the same numbers in a dense form.
struct Made {
  int64_t m = 0, n = 0;
  std::vector<int64_t> program;
  std::vector<Array> arrays;
  std::vector<double> dense;
  std::vector<std::shared_ptr<void>> owned;

  template <class T>
  T* take(int64_t count, Array::Type type) {
    std::shared_ptr<T[]> made(new T[count]);
    owned.push_back(std::shared_ptr<void>(made, made.get()));
    arrays.push_back({made.get(), count, type});
    return made.get();
  }
  float* numbers(int64_t count) {
    float* found = take<float>(count, Array::floats);
    for (int64_t i = 0; i < count; ++i) found[i] = number();
    return found;
  }
  void shape(int64_t rows, int64_t columns) {
    m = rows;
    n = columns;
    dense.assign(m * n, 0.0);
  }
  double& at(int64_t i, int64_t j) { return dense[i * n + j]; }
  void add(const Made& part) {
    program.insert(program.end(), part.program.begin(), part.program.end());
    arrays.insert(arrays.end(), part.arrays.begin(), part.arrays.end());
    owned.insert(owned.end(), part.owned.begin(), part.owned.end());
  }
};

template <class T>
std::vector<int64_t> indices(Made& w, int64_t count, int64_t limit, Array::Type type) {
  T* at = w.take<T>(count, type);
  std::vector<int64_t> found(count);
  for (int64_t i = 0; i < count; ++i) found[i] = at[i] = static_cast<T>(below(limit));
  return found;
}

std::vector<int64_t> some_indices(Made& w, int64_t count, int64_t limit) {
  const int64_t width = limit > 256 ? 1 + below(2) : below(3);
  if (width == 0) return indices<uint8_t>(w, count, limit, Array::bytes);
  if (width == 1) return indices<uint16_t>(w, count, limit, Array::shorts);
  return indices<uint32_t>(w, count, limit, Array::words);
}

Made dense(int64_t m, int64_t n) {
  Made w;
  w.shape(m, n);
  w.program = {0, m, n};
  const float* values = w.numbers(m * n);
  w.dense.assign(values, values + m * n);
  return w;
}

Made kronecker(std::vector<std::pair<int64_t, int64_t>> shapes) {
  Made w;
  w.program = {1, static_cast<int64_t>(shapes.size())};
  std::vector<double> all = {1.0};
  int64_t rows = 1, columns = 1;
  for (auto [m, n] : shapes) {
    const float* f = w.numbers(m * n);
    std::vector<double> next(rows * m * columns * n);
    for (int64_t i = 0; i < rows * m; ++i)
      for (int64_t j = 0; j < columns * n; ++j)
        next[i * columns * n + j] = all[i / m * columns + j / n] * f[i % m * n + j % n];
    all = next;
    rows *= m;
    columns *= n;
    w.program.insert(w.program.end(), {m, n});
  }
  std::vector<int64_t> order(shapes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random_bits);
  w.program.insert(w.program.end(), order.begin(), order.end());
  w.shape(rows, columns);
  w.dense = all;
  return w;
}

Made slots(int64_t m, int64_t k, int64_t n) {
  Made w;
  w.shape(m, n);
  w.program = {2, m, k, n};
  const float* values = w.numbers(k * n);
  const auto at = some_indices(w, k * n, m);
  for (int64_t i = 0; i < k * n; ++i) w.at(at[i], i % n) += values[i];
  return w;
}

Made blocks(int64_t tall, int64_t k, int64_t count, int64_t r, int64_t c) {
  Made w;
  w.shape(tall * r, count * c);
  w.program = {3, tall * r, k, count, r, c};
  const float* values = w.numbers(k * count * r * c);
  const auto at = some_indices(w, k * count, tall);
  for (int64_t s = 0; s < k * count; ++s)
    for (int64_t i = 0; i < r; ++i)
      for (int64_t j = 0; j < c; ++j)
        w.at(at[s] * r + i, s % count * c + j) += values[(s * r + i) * c + j];
  return w;
}

Made codes(int64_t m, int64_t n, int64_t bits, int64_t table) {
  Made w;
  w.shape(m, n);
  w.program = {4, m, n, bits, table};
  const int64_t size = (m * n * bits + 7) / 8;
  uint8_t* stream = w.take<uint8_t>(size, Array::bytes);
  for (int64_t i = 0; i < size; ++i) stream[i] = static_cast<uint8_t>(below(256));
  const float* levels = w.numbers(table);
  for (int64_t i = 0; i < m * n; ++i) {
    const int code = bits == 8 ? stream[i] : (stream[i / 2] >> (i % 2 * 4)) & 15;
    w.dense[i] = table == 1   ? double(levels[0]) * (code - ((1 << (bits - 1)) - 1))
                 : table == 2 ? levels[0] + double(levels[1]) * code
                              : levels[code];
  }
  return w;
}

Made spread(int64_t m, int64_t n) {
  Made w;
  w.shape(m, n);
  w.program = {5, m, n};
  const float* values = w.numbers(n);
  int64_t j = 0;
  for (int64_t b = 0; b < m; ++b)
    for (const int64_t end = j + n / m + (b < n % m); j < end; ++j) w.at(b, j) = values[j];
  return w;
}

Made sum(const Made& a, const Made& b) {
  Made w;
  w.program = {6, 2};
  w.add(a);
  w.add(b);
  w.shape(a.m, a.n);
  for (size_t i = 0; i < w.dense.size(); ++i) w.dense[i] = a.dense[i] + b.dense[i];
  return w;
}

Made product(const Made& a, const Made& b) {
  Made w;
  w.program = {7, 2};
  w.add(a);
  w.add(b);
  w.shape(a.m, b.n);
  for (int64_t i = 0; i < a.m; ++i)
    for (int64_t k = 0; k < a.n; ++k)
      for (int64_t j = 0; j < b.n; ++j) w.at(i, j) += a.dense[i * a.n + k] * b.dense[k * b.n + j];
  return w;
}

Made columns(const Made& a, const Made& b) {
  Made w;
  w.program = {8, 2};
  w.add(a);
  w.add(b);
  w.shape(a.m, a.n + b.n);
  for (int64_t i = 0; i < a.m; ++i) {
    for (int64_t j = 0; j < a.n; ++j) w.at(i, j) = a.dense[i * a.n + j];
    for (int64_t j = 0; j < b.n; ++j) w.at(i, a.n + j) = b.dense[i * b.n + j];
  }
  return w;
}

void need(double error, double scale, const char* what) {
  if (error <= 2e-5 * std::max(1.0, scale)) return;
  std::printf("%s, %s: off by %g\n", kernels().name, what, error);
  ++failures;
}

std::unique_ptr<float[]> numbers(int64_t count) {
  std::unique_ptr<float[]> found(new float[count]);
  for (int64_t i = 0; i < count; ++i) found[i] = number();
  return found;
}

void check_product(const Made& made, int64_t rows, const char* what) {
  const Matrix w = read_matrix(made.program.data(), made.program.size(), made.arrays);
  const auto x = numbers(rows * w.m), y = numbers(rows * w.n), space = numbers(room(w, rows));
  std::vector<double> want(y.get(), y.get() + rows * w.n);
  double scale = 0, error = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < w.m; ++i)
      for (int64_t j = 0; j < w.n; ++j)
        want[r * w.n + j] += x[r * w.m + i] * made.dense[i * w.n + j];
  add_product(w, x.get(), rows, y.get(), w.n, space.get());
  for (int64_t i = 0; i < rows * w.n; ++i) {
    scale = std::max(scale, std::abs(want[i]));
    error = std::max(error, std::abs(want[i] - y[i]));
  }
  need(error, scale, what);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void check_sequence(const Made& made, Cell cell, int64_t steps, int64_t rows, int64_t h) {
  const Matrix w = read_matrix(made.program.data(), made.program.size(), made.arrays);
  const int64_t width = w.n;
  const auto projected = numbers(steps * rows * width), bias = numbers(h), start = numbers(rows * h);
  const auto memory = numbers(rows * h), outputs = numbers(steps * rows * h);
  std::vector<double> c(memory.get(), memory.get() + rows * h);
  std::vector<double> state(start.get(), start.get() + rows * h), want;
  for (int64_t t = 0; t < steps; ++t) {
    const std::vector<double> before = state;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<double> z(width, 0.0);
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < width; ++j) z[j] += before[r * h + i] * made.dense[i * width + j];
      const float* p = projected.get() + (t * rows + r) * width;
      for (int64_t j = 0; j < h; ++j) {
        double& own = state[r * h + j];
        if (cell == Cell::lstm) {
          double& kept = c[r * h + j];
          kept = sigmoid(p[h + j] + z[h + j]) * kept +
                 sigmoid(p[j] + z[j]) * std::tanh(p[2 * h + j] + z[2 * h + j]);
          own = sigmoid(p[3 * h + j] + z[3 * h + j]) * std::tanh(kept);
        } else {
          const double reset = sigmoid(p[j] + z[j]), keep = sigmoid(p[h + j] + z[h + j]);
          const double n = std::tanh(p[2 * h + j] + reset * (z[2 * h + j] + bias[j]));
          own = (1 - keep) * n + keep * before[r * h + j];
        }
      }
    }
    want.insert(want.end(), state.begin(), state.end());
  }
  const Sequence s = {cell,       steps,       rows,         h,            projected.get(),
                      bias.get(), start.get(), memory.get(), outputs.get()};
  const auto space = numbers(room(w, s));
  run(w, s, space.get());
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) error = std::max(error, std::abs(want[i] - outputs[i]));
  for (size_t i = 0; cell == Cell::lstm && i < c.size(); ++i)
    error = std::max(error, std::abs(c[i] - memory[i]));
  need(error, 1, cell == Cell::lstm ? "LSTM" : "GRU");
}

// What is no number, or none that a float can hold, goes through the gates as it should.
void check_gates() {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (float x : {0.0f, -0.0f, tiny, -tiny, 1e-20f, 1e-4f, -0.3f, 9.0f, -88.0f, 1e30f, inf, -inf, nan}) {
    const float z[4] = {x, 0.0f, 0.7f, 0.3f};
    float c = 0.5f, state = 0.0f;
    kernels().lstm(z, 1, &c, &state);
    const double want = 0.25 + sigmoid(x) * std::tanh(double(0.7f));
    if (std::isnan(x) != std::isnan(c)) need(1, 0, "NaN in a gate");
    if (!std::isnan(x)) need(std::abs(c - want), 1, "a gate");
    const float g[4] = {40.0f, -40.0f, x, 40.0f};  // tanh(x), then its tanh
    c = 0.0f;
    kernels().lstm(g, 1, &c, &state);
    if (!std::isnan(x)) need(std::abs(c - std::tanh(double(x))), std::abs(c) / 50, "tanh");
    if (std::isnan(x) != std::isnan(state)) need(1, 0, "NaN in the candidate");
  }
}

// A program with a wrong number in it is refused, or describes another matrix that its arrays fit.
void check_refusals(const Made& made) {
  for (int trial = 0; trial < 60; ++trial) {
    auto program = made.program;
    const int64_t wild[] = {-1, 0, 1, 2, 7, 1000, int64_t{1} << 40, INT64_MAX, INT64_MIN};
    program[below(program.size())] = wild[below(9)];
    if (trial % 5 == 0) program.resize(below(program.size()));
    try {
      const Matrix w = read_matrix(program.data(), program.size(), made.arrays);
      if (w.m * w.n > 1 << 20) continue;
      const auto x = numbers(2 * w.m), y = numbers(2 * w.n), space = numbers(room(w, 2));
      add_product(w, x.get(), 2, y.get(), w.n, space.get());
    } catch (const std::invalid_argument&) {
    }
  }
}

void check_all() {
  for (int64_t n : {1, 3, 4, 7, 8, 15, 16, 17, 33, 65}) {
    for (int64_t rows : {1, 2, 5, 33}) {
      check_product(dense(1 + below(40), n), rows, "dense");
      check_product(kronecker({{1 + below(5), 1 + below(9)}, {1 + below(7), n}}), rows, "Kronecker");
      check_product(kronecker({{2, n}, {1 + below(3), 3}, {1 + below(9), 1 + below(5)}}), rows,
                    "Kronecker of three");
      check_product(slots(1 + below(600), below(12), n), rows, "slots");
      check_product(blocks(1 + below(9), below(9), 1 + below(5), 1 + below(3), n), rows, "blocks");
      for (int64_t table : {1, 2, 256}) check_product(codes(1 + below(20), n, 8, table), rows, "8 bits");
      for (int64_t table : {1, 2, 16}) check_product(codes(1 + below(20), 2 * n, 4, table), rows, "4 bits");
      check_product(product(dense(9, 3), spread(3, n)), rows, "spread");
      check_product(columns(dense(6, n), sum(slots(6, 2, 5), dense(6, 5))), rows, "columns");
    }
  }
  for (int64_t h : {1, 7, 33}) {
    for (int64_t rows : {1, 3}) {
      check_sequence(sum(dense(h, 4 * h), slots(h, 2, 4 * h)), Cell::lstm, 3, rows, h);
      check_sequence(columns(blocks(h, 2, h, 1, 2), kronecker({{h, h}, {1, 1}})), Cell::gru, 3, rows, h);
    }
  }
  check_gates();
  for (int trial = 0; trial < 20; ++trial)
    check_refusals(columns(product(dense(6, 3), spread(3, 8)),
                           sum(sum(slots(6, 2, 6), blocks(3, 2, 2, 2, 3)),
                               sum(codes(6, 6, 4, 2), kronecker({{2, 3}, {3, 2}})))));
}

}  // namespace

int main() {
  for (const char* name : {"baseline", "avx2", "avx512"}) {
    if (!choose(name)) continue;
    check_all();
    std::printf("%s: checked\n", name);
  }
  return failures > 99 ? 99 : failures;
}
