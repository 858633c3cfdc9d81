// From the program of a call to a matrix, with every size checked.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "matrix.h"

namespace structlin {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

int64_t times(int64_t a, int64_t b) {
  int64_t product;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) refuse("a size is out of range");
  return product;
}

class Reader {
 public:
  Reader(const int64_t* program, size_t size, const std::vector<Array>& arrays)
      : next_(program), end_(program + size), arrays_(arrays) {}

  Matrix matrix() {
    Matrix found{static_cast<Kind>(number()), 0, 0, {}, {}, {}};
    switch (found.kind) {
      case Kind::dense: dense(found); break;
      case Kind::kronecker: kronecker(found); break;
      case Kind::slots: slots(found); break;
      case Kind::blocks: blocks(found); break;
      case Kind::codes: codes(found); break;
      case Kind::spread: spread(found); break;
      case Kind::sum: case Kind::product: case Kind::columns: parts(found); break;
      default: refuse("there is no such kind of matrix");
    }
    return found;
  }

  bool done() const { return next_ == end_ && used_ == arrays_.size(); }

 private:
  int64_t number() {
    if (next_ == end_) refuse("the program ends early");
    return *next_++;
  }

  int64_t size() {
    const int64_t found = number();
    if (found < 0 || found > int64_t{1} << 40) refuse("a size is out of range");
    return found;
  }

  void take(Matrix& into, Array::Type type, int64_t count) {
    if (used_ == arrays_.size()) refuse("an array is missing");
    const Array& array = arrays_[used_++];
    if (array.type != type || array.count != count)
      refuse("array " + std::to_string(used_ - 1) + " has another type or size than " +
             std::to_string(count));
    into.arrays.push_back(array);
  }

  void take_indices(Matrix& into, int64_t count, int64_t limit) {
    const auto type = used_ < arrays_.size() ? arrays_[used_].type : Array::other;
    if (type != Array::bytes && type != Array::shorts && type != Array::words)
      refuse("indices are unsigned, of 1, 2 or 4 bytes");
    take(into, type, count);
    const Array& found = into.arrays.back();
    if (!count) return;
    const int64_t most = kernels().most(found.data, width(found), count);
    if (most >= limit)
      refuse("an index is " + std::to_string(most) + " and must be below " + std::to_string(limit));
  }

  void shape(Matrix& into) {
    into.m = size();
    into.n = size();
  }

  void dense(Matrix& into) {
    shape(into);
    take(into, Array::floats, times(into.m, into.n));
  }

  void spread(Matrix& into) {
    shape(into);
    if (into.m < 1) refuse("nothing to spread");
    take(into, Array::floats, into.n);
  }

  void kronecker(Matrix& into) {
    const int64_t count = size();
    if (count < 1 || count > 16) refuse("a Kronecker product has 1 to 16 factors");
    into.m = into.n = 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t m = size(), n = size();
      into.m = times(into.m, m);
      into.n = times(into.n, n);
      into.sizes.insert(into.sizes.end(), {m, n});
      take(into, Array::floats, times(m, n));
    }
    std::vector<bool> seen(count);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = number();
      if (at < 0 || at >= count || seen[at]) refuse("the order of the factors is none");
      seen[at] = true;
      into.sizes.push_back(at);
    }
  }

  void slots(Matrix& into) {
    into.m = size();
    const int64_t k = size();
    into.n = size();
    into.sizes = {k};
    take(into, Array::floats, times(k, into.n));
    take_indices(into, times(k, into.n), into.m);
  }

  void blocks(Matrix& into) {
    into.m = size();
    const int64_t k = size(), count = size(), r = size(), c = size();
    if (r < 1 || c < 1) refuse("a block has no entries");
    into.n = times(count, c);
    into.sizes = {k, count, r, c};
    take(into, Array::floats, times(times(k, into.n), r));
    take_indices(into, times(k, count), into.m / r);
  }

  void codes(Matrix& into) {
    shape(into);
    const int64_t bits = number(), table = number();  // numbers in the table tell its kind
    if (bits != 8 && (bits != 4 || into.n % 2)) refuse("codes have 8 bits, or 4 in an even row");
    if (table != 1 && table != 2 && table != int64_t{1} << bits) refuse("no table has that size");
    into.sizes = {bits, table};
    take(into, Array::bytes, (times(times(into.m, into.n), bits) + 7) / 8);
    take(into, Array::floats, table);
  }

  void parts(Matrix& into) {
    const int64_t count = size();
    if (count < 1 || count > end_ - next_) refuse("a matrix has no parts, or too many");
    if (++depth_ > 16) refuse("the program is too deep");
    for (int64_t i = 0; i < count; ++i) into.parts.push_back(matrix());
    --depth_;
    const Matrix &first = into.parts.front(), &last = into.parts.back();
    into.m = first.m;
    into.n = into.kind == Kind::columns ? 0 : last.n;
    for (int64_t i = 0; i < count; ++i) {
      const Matrix& part = into.parts[i];
      const int64_t rows = into.kind == Kind::product && i ? into.parts[i - 1].n : first.m;
      if (part.m != rows || (into.kind == Kind::sum && part.n != into.n))
        refuse("the parts of a matrix do not fit");
      if (into.kind == Kind::columns) into.n += part.n;
    }
  }

  const int64_t* next_;
  const int64_t* end_;
  const std::vector<Array>& arrays_;
  size_t used_ = 0;
  int depth_ = 0;
};

}  // namespace

Matrix read_matrix(const int64_t* program, size_t size, const std::vector<Array>& arrays) {
  Reader reader(program, size, arrays);
  Matrix found = reader.matrix();
  if (!reader.done()) refuse("the program says less than was given");
  return found;
}

}  // namespace structlin
