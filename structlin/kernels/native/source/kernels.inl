// The inner loops for vectors of LANES numbers; included in a namespace of one instruction set.

// --- Products of small dense matrices: R rows and V vectors of `out` stay in registers. ---

constexpr int wide = LANES == 16 ? 4 : LANES == 8 ? 3 : 2;
constexpr int tall = 4;

template <int R, int V, bool whole>
INLINE void tile(const float* left, int64_t row, int64_t column, const float* right, int64_t depth,
                 int64_t n, int64_t last, float* out, bool add) {
  Floats sum[R][V];
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v)
      sum[i][v] = add ? load(out + i * n + v * LANES, last, whole || v < V - 1) : Floats{};
  for (int64_t k = 0; k < depth; ++k) {
    Floats b[V];
    for (int v = 0; v < V; ++v) b[v] = load(right + k * n + v * LANES, last, whole || v < V - 1);
    for (int i = 0; i < R; ++i) {
      const float a = left[i * row + k * column];
      for (int v = 0; v < V; ++v) sum[i][v] += a * b[v];
    }
  }
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v)
      store(out + i * n + v * LANES, sum[i][v], last, whole || v < V - 1);
}

template <int V, bool whole>
static void strip(const float* left, int64_t row, int64_t column, int64_t rows, const float* right,
                  int64_t depth, int64_t n, int64_t last, float* out, bool add) {
  int64_t i = 0;
  for (; i + tall <= rows; i += tall)
    tile<tall, V, whole>(left + i * row, row, column, right, depth, n, last, out + i * n, add);
  for (; i < rows; ++i)
    tile<1, V, whole>(left + i * row, row, column, right, depth, n, last, out + i * n, add);
}

template <int V>
static void strips(const float* left, int64_t row, int64_t column, int64_t rows, const float* right,
                   int64_t depth, int64_t n, int64_t vectors, int64_t last, float* out, bool add) {
  if (vectors != V) {
    if constexpr (V > 1)
      strips<V - 1>(left, row, column, rows, right, depth, n, vectors, last, out, add);
  } else if (last == LANES) {
    strip<V, true>(left, row, column, rows, right, depth, n, last, out, add);
  } else {
    strip<V, false>(left, row, column, rows, right, depth, n, last, out, add);
  }
}

static void product(const float* left, int64_t row, int64_t column, int64_t rows,
                    const float* right, int64_t depth, int64_t n, float* out, bool add) {
  for (int64_t j = 0; j < n; j += wide * LANES) {
    const int64_t width = n - j < wide * LANES ? n - j : wide * LANES;
    const int64_t vectors = (width + LANES - 1) / LANES, last = width - (vectors - 1) * LANES;
    strips<wide>(left, row, column, rows, right + j, depth, n, vectors, last, out + j, add);
  }
}

// --- Few rows times a large dense matrix: eight of its rows at a time, as they stand. ---

template <int K>
INLINE void add_rows(const float* x, const float* w, int64_t n, float* y) {
  const auto at = [&](int64_t j, int64_t part, bool whole) {
    Floats sum[4] = {load(y + j, part, whole), {}, {}, {}};
    for (int k = 0; k < K; ++k) sum[k % 4] += x[k] * load(w + k * n + j, part, whole);
    store(y + j, (sum[0] + sum[1]) + (sum[2] + sum[3]), part, whole);
  };
  int64_t j = 0;
  for (; j + LANES <= n; j += LANES) at(j, LANES, true);
  if (j < n) at(j, n - j, false);
}

static float dot(const float* x, const float* w, int64_t m) {
  Floats sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * LANES <= m; i += 4 * LANES)
    for (int q = 0; q < 4; ++q) sum[q] += load(x + i + q * LANES) * load(w + i + q * LANES);
  Floats all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  float total = 0;
  for (int q = 0; q < LANES; ++q) total += all[q];
  for (; i < m; ++i) total += x[i] * w[i];
  return total;
}

static void rows(const float* x, int64_t ldx, int64_t count, const float* w, int64_t m, int64_t n,
                 float* y, int64_t ldy) {
  if (n == 1) {
    for (int64_t i = 0; i < count; ++i) y[i * ldy] += dot(x + i * ldx, w, m);
    return;
  }
  int64_t k = 0;
  for (; k + 8 <= m; k += 8)
    for (int64_t i = 0; i < count; ++i) add_rows<8>(x + i * ldx + k, w + k * n, n, y + i * ldy);
  for (; k < m; ++k)
    for (int64_t i = 0; i < count; ++i) add_rows<1>(x + i * ldx + k, w + k * n, n, y + i * ldy);
}

// --- Coded numbers: eight rows of codes at a time, decoded where they are used. ---

INLINE Floats level(Ints codes, const Levels& levels, int bits, bool table) {
  if (table && bits == 4) return gather_of_16(levels.levels, codes);
  if (table) return gather(levels.levels, codes);
  return levels.base + levels.step * __builtin_convertvector(codes - levels.offset, Floats);
}

template <int K, int bits, bool table>
INLINE void add_codes(const float* x, const uint8_t* stream, int64_t first, int64_t n,
                      const Levels& levels, float* y) {
  int64_t j = 0;
  for (; j + LANES <= n; j += LANES) {
    Floats sum[2] = {load(y + j), {}};
    for (int k = 0; k < K; ++k) {
      const int64_t at = first + k * n + j;
      const Ints codes = bits == 8 ? bytes(stream + at) : nibbles(stream + at / 2);
      sum[k % 2] += x[k] * level(codes, levels, bits, table);
    }
    store(y + j, sum[0] + sum[1]);
  }
  for (; j < n; ++j) {
    for (int k = 0; k < K; ++k) {
      const int64_t at = first + k * n + j;
      const int32_t code = bits == 8 ? stream[at] : (stream[at / 2] >> (at % 2 * 4)) & 15;
      y[j] += x[k] * (table ? levels.levels[code]
                            : levels.base + levels.step * (float)(code - levels.offset));
    }
  }
}

template <int bits, bool table>
static void codes_of(const float* x, const uint8_t* stream, int64_t m, int64_t n,
                     Levels levels, float* y) {
  int64_t k = 0;
  for (; k + 8 <= m; k += 8) add_codes<8, bits, table>(x + k, stream, k * n, n, levels, y);
  for (; k < m; ++k) add_codes<1, bits, table>(x + k, stream, k * n, n, levels, y);
}

static void codes(const float* x, const uint8_t* stream, int64_t m, int64_t n, int bits,
                  Levels levels, float* y) {
#if LANES == 16
  float table[16];
  if (bits == 4 && !levels.levels) {  // sixteen levels are one vector, and reading it is cheapest
    for (int code = 0; code < 16; ++code)
      table[code] = levels.base + levels.step * (float)(code - levels.offset);
    levels.levels = table;
  }
#endif
  const auto run = bits == 8 ? (levels.levels ? codes_of<8, true> : codes_of<8, false>)
                             : (levels.levels ? codes_of<4, true> : codes_of<4, false>);
  run(x, stream, m, n, levels, y);
}

// --- Slots: single entries of each column. ---

// Four lanes on every processor: they are filled one by one, which is no slower than the gathers
// of wider ones.
typedef float Four __attribute__((vector_size(16)));

template <int K, class Index>
INLINE void add_slots(const float* x, const float* values, const Index* index, int64_t n, float* y) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    Four sum[2] = {load_as<Four>(y + j), {}};
    for (int s = 0; s < K; ++s) {
      const Index* at = index + s * n + j;
      const Four picked = {x[at[0]], x[at[1]], x[at[2]], x[at[3]]};
      sum[s % 2] += load_as<Four>(values + s * n + j) * picked;
    }
    const Four all = sum[0] + sum[1];
    __builtin_memcpy(y + j, &all, sizeof all);
  }
  for (; j < n; ++j)
    for (int s = 0; s < K; ++s) y[j] += x[index[s * n + j]] * values[s * n + j];
}

template <class Index>
static void slots_of(const float* x, const float* values, const Index* index, int64_t k, int64_t n,
                     float* y) {
  int64_t s = 0;
  for (; s + 4 <= k; s += 4) add_slots<4>(x, values + s * n, index + s * n, n, y);
  for (; s < k; ++s) add_slots<1>(x, values + s * n, index + s * n, n, y);
}

template <int V, class Index>
static void slots_panel_of(const float* xt, int64_t rows, const float* values, const Index* index,
                           int64_t k, int64_t n, float* y, int64_t ldy) {
  if constexpr (V > 1)  // no more vectors than there are rows for
    if (rows <= (V - 1) * LANES)
      return slots_panel_of<V - 1>(xt, rows, values, index, k, n, y, ldy);
  float found[16][V * LANES];
  for (int64_t j = 0; j < n; j += 16) {
    const int64_t columns = n - j < 16 ? n - j : 16;
    for (int64_t i = 0; i < columns; ++i) {
      Floats sum[V] = {};
      for (int64_t s = 0; s < k; ++s) {
        const float* p = xt + (int64_t)index[s * n + j + i] * panel;
        const float value = values[s * n + j + i];
        for (int v = 0; v < V; ++v) sum[v] += value * load(p + v * LANES);
      }
      for (int v = 0; v < V; ++v) store(found[i] + v * LANES, sum[v]);
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < columns; ++i) y[r * ldy + j + i] += found[i][r];
  }
}

// --- Blocks: R rows of x and V vectors of columns of one block column at a time. ---

template <int R, int V, bool whole, bool single, class Index>
INLINE void block(const float* x, int64_t ldx, const float* values, const Index* index, int64_t k,
                  int64_t blocks, int64_t rows, int64_t c, int64_t part, float* y, int64_t ldy) {
  constexpr int chains = R * V < 4 ? 4 / V : 1;  // sums that do not wait for each other
  const int64_t r = single ? 1 : rows, step = blocks * r * c;
  Floats sum[chains][R][V] = {};
  for (int q = 0; q < R; ++q)
    for (int v = 0; v < V; ++v)
      sum[0][q][v] = load(y + q * ldy + v * LANES, part, whole || v < V - 1);
  const auto slot = [&](int chain) {
    const float* at = x + (int64_t)*index * r;
    for (int64_t i = 0; i < r; ++i) {
      Floats w[V];
      for (int v = 0; v < V; ++v)
        w[v] = load(values + i * c + v * LANES, part, whole || v < V - 1);
      for (int q = 0; q < R; ++q)
        for (int v = 0; v < V; ++v) sum[chain][q][v] += at[q * ldx + i] * w[v];
    }
    index += blocks;
    values += step;
  };
  int64_t s = 0;
  for (; s + chains <= k; s += chains)
    for (int chain = 0; chain < chains; ++chain) slot(chain);
  for (; s < k; ++s) slot(0);
  for (int q = 0; q < R; ++q) {
    for (int v = 0; v < V; ++v) {
      Floats all = sum[0][q][v];
      for (int chain = 1; chain < chains; ++chain) all += sum[chain][q][v];
      store(y + q * ldy + v * LANES, all, part, whole || v < V - 1);
    }
  }
}

template <int R, int V, bool single, class Index>
static void block_columns(const float* x, int64_t ldx, const float* values, const Index* index,
                          int64_t k, int64_t blocks, int64_t r, int64_t c, int64_t width, float* y,
                          int64_t ldy) {
  const int64_t part = width - (V - 1) * LANES;
  for (int64_t b = 0; b < blocks; ++b) {
    const float* own = values + b * r * c;
    if (part == LANES)
      block<R, V, true, single>(x, ldx, own, index + b, k, blocks, r, c, part, y + b * c, ldy);
    else
      block<R, V, false, single>(x, ldx, own, index + b, k, blocks, r, c, part, y + b * c, ldy);
  }
}

template <int R, bool single, class Index>
static void blocks_of(const float* x, int64_t ldx, const float* values, const Index* index,
                      int64_t k, int64_t blocks, int64_t r, int64_t c, float* y, int64_t ldy) {
  for (int64_t j = 0; j < c; j += 4 * LANES) {
    const int64_t width = c - j < 4 * LANES ? c - j : 4 * LANES;
    const auto run = width > 3 * LANES   ? block_columns<R, 4, single, Index>
                     : width > 2 * LANES ? block_columns<R, 3, single, Index>
                     : width > LANES     ? block_columns<R, 2, single, Index>
                                         : block_columns<R, 1, single, Index>;
    run(x, ldx, values + j, index, k, blocks, r, c, width, y + j, ldy);
  }
}

// --- Indices of every width. ---

template <class F>
INLINE void with_index(const void* index, Width width, F f) {
  if (width == Width::one) return f((const uint8_t*)index);
  if (width == Width::two) return f((const uint16_t*)index);
  f((const uint32_t*)index);
}

static uint32_t most(const void* index, Width width, int64_t count) {
  uint32_t found = 0;
  with_index(index, width, [&](auto* at) {
    auto own = at[0];
    for (int64_t i = 1; i < count; ++i) own = at[i] > own ? at[i] : own;
    found = own;
  });
  return found;
}

static void slots(const float* x, const float* values, const void* index, Width width, int64_t k,
                  int64_t n, float* y) {
  with_index(index, width, [&](auto* at) { slots_of(x, values, at, k, n, y); });
}

static void slots_panel(const float* xt, int64_t count, const float* values, const void* index,
                        Width width, int64_t k, int64_t n, float* y, int64_t ldy) {
  with_index(index, width, [&](auto* at) {
    slots_panel_of<panel / LANES>(xt, count, values, at, k, n, y, ldy);
  });
}

static void blocks(const float* x, int64_t ldx, int64_t count, const float* values,
                   const void* index, Width width, int64_t k, int64_t number, int64_t r, int64_t c,
                   float* y, int64_t ldy) {
  with_index(index, width, [&](auto* at) {
    typedef std::remove_const_t<std::remove_pointer_t<decltype(at)>> Index;
    const auto four = r == 1 ? blocks_of<4, true, Index> : blocks_of<4, false, Index>;
    const auto one = r == 1 ? blocks_of<1, true, Index> : blocks_of<1, false, Index>;
    int64_t i = 0;
    for (; i + 4 <= count; i += 4)
      four(x + i * ldx, ldx, values, at, k, number, r, c, y + i * ldy, ldy);
    for (; i < count; ++i) one(x + i * ldx, ldx, values, at, k, number, r, c, y + i * ldy, ldy);
  });
}

// --- Gates. ---

template <class F>
INLINE void each_vector(int64_t h, F f) {
  int64_t j = 0;
  for (; j + LANES <= h; j += LANES) f(j, LANES, true);
  if (j < h) f(j, h - j, false);
}

static void lstm(const float* z, int64_t h, float* c, float* state) {
  each_vector(h, [&](int64_t j, int64_t part, bool whole) {
    const auto gate = [&](int64_t g) { return load(z + g * h + j, part, whole); };
    const Floats kept = sigmoid(gate(1)) * load(c + j, part, whole);
    const Floats next = kept + sigmoid(gate(0)) * tanh(gate(2));
    store(c + j, next, part, whole);
    store(state + j, sigmoid(gate(3)) * tanh(next), part, whole);
  });
}

static void gru(const float* projected, const float* hidden, int64_t h, float* state) {
  each_vector(h, [&](int64_t j, int64_t part, bool whole) {
    const auto x = [&](int64_t g) { return load(projected + g * h + j, part, whole); };
    const auto u = [&](int64_t g) { return load(hidden + g * h + j, part, whole); };
    const Floats z = sigmoid(x(1) + u(1));
    const Floats n = tanh(x(2) + sigmoid(x(0) + u(0)) * u(2));
    store(state + j, (1.0f - z) * n + z * load(state + j, part, whole), part, whole);
  });
}
