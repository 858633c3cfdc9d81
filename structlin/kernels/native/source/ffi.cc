// The calls that XLA makes: arrays checked, room found, errors returned and never thrown.
#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sequence.h"
#include "xla/ffi/api/ffi.h"

namespace structlin {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Floats>;
using Program = ffi::Span<const int64_t>;

void need(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(what);
}

Array::Type type_of(ffi::DataType type) {
  switch (type) {
    case ffi::F32: return Array::floats;
    case ffi::U8: return Array::bytes;
    case ffi::U16: return Array::shorts;
    case ffi::U32: return Array::words;
    default: return Array::other;
  }
}

Matrix read(Program program, const ffi::RemainingArgs& rest) {
  std::vector<Array> arrays;
  for (size_t i = 0; i < rest.size(); ++i) {
    const auto buffer = rest.get<ffi::AnyBuffer>(i);
    need(buffer.has_value(), "an argument is no array");
    arrays.push_back({buffer->untyped_data(), static_cast<int64_t>(buffer->element_count()),
                      type_of(buffer->element_type())});
  }
  return read_matrix(program.begin(), program.size(), arrays);
}

// Room that a thread keeps from call to call.
float* room_of(int64_t count) {
  thread_local std::unique_ptr<float[]> room;
  thread_local int64_t held = 0;
  if (held < count) {
    held = 0;
    room.reset(new float[count]);
    held = count;
  }
  return room.get();
}

template <class F>
ffi::Error guarded(F call) {
  try {
    call();
    return ffi::Error::Success();
  } catch (const std::exception& error) {
    return ffi::Error::InvalidArgument(std::string("structlin: ") + error.what());
  }
}

ffi::Error product(Program program, Floats x, ffi::RemainingArgs rest, Result y) {
  return guarded([&] {
    const Matrix matrix = read(program, rest);
    need(x.dimensions().size() == 2 && x.dimensions()[1] == matrix.m, "x is not (rows, m)");
    const int64_t rows = x.dimensions()[0];
    need(static_cast<int64_t>(y->element_count()) == rows * matrix.n, "y is not (rows, n)");
    std::fill_n(y->typed_data(), y->element_count(), 0.0f);
    add_product(matrix, x.typed_data(), rows, y->typed_data(), matrix.n,
                room_of(room(matrix, rows)));
  });
}

void check(const Sequence& s, const Matrix& recurrent, Floats projected, Floats start) {
  const int64_t gates = s.cell == Cell::lstm ? 4 : 3;
  need(recurrent.m == s.h && recurrent.n == gates * s.h, "the recurrent matrix does not fit");
  need(static_cast<int64_t>(projected.element_count()) == s.steps * s.rows * gates * s.h,
       "the projection is not (steps, rows, gates h)");
  need(static_cast<int64_t>(start.element_count()) == s.rows * s.h, "the state is not (rows, h)");
}

Sequence sequence(Cell cell, Floats projected, Floats start, Result& outputs) {
  const auto shape = outputs->dimensions();
  need(shape.size() == 3, "the outputs are not (steps, rows, h)");
  return {cell,    shape[0], shape[1], shape[2], projected.typed_data(),
          nullptr, start.typed_data(), nullptr,  outputs->typed_data()};
}

ffi::Error lstm(Program program, Floats projected, Floats memory, Floats start,
                ffi::RemainingArgs rest, Result outputs, Result last) {
  return guarded([&] {
    const Matrix recurrent = read(program, rest);
    Sequence s = sequence(Cell::lstm, projected, start, outputs);
    check(s, recurrent, projected, start);
    need(memory.element_count() == start.element_count() &&
             last->element_count() == start.element_count(),
         "the memory is not (rows, h)");
    s.memory = last->typed_data();
    std::copy_n(memory.typed_data(), memory.element_count(), s.memory);
    run(recurrent, s, room_of(room(recurrent, s)));
  });
}

ffi::Error gru(Program program, Floats projected, Floats start, Floats bias,
               ffi::RemainingArgs rest, Result outputs) {
  return guarded([&] {
    const Matrix recurrent = read(program, rest);
    Sequence s = sequence(Cell::gru, projected, start, outputs);
    check(s, recurrent, projected, start);
    need(static_cast<int64_t>(bias.element_count()) == s.h, "the bias is not (h)");
    s.bias = bias.typed_data();
    run(recurrent, s, room_of(room(recurrent, s)));
  });
}

}  // namespace
}  // namespace structlin

XLA_FFI_DEFINE_HANDLER_SYMBOL(structlin_product, structlin::product,
                              xla::ffi::Ffi::Bind()
                                  .Attr<structlin::Program>("program")
                                  .Arg<structlin::Floats>()
                                  .RemainingArgs()
                                  .Ret<structlin::Floats>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(structlin_lstm, structlin::lstm,
                              xla::ffi::Ffi::Bind()
                                  .Attr<structlin::Program>("program")
                                  .Arg<structlin::Floats>()
                                  .Arg<structlin::Floats>()
                                  .Arg<structlin::Floats>()
                                  .RemainingArgs()
                                  .Ret<structlin::Floats>()
                                  .Ret<structlin::Floats>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(structlin_gru, structlin::gru,
                              xla::ffi::Ffi::Bind()
                                  .Attr<structlin::Program>("program")
                                  .Arg<structlin::Floats>()
                                  .Arg<structlin::Floats>()
                                  .Arg<structlin::Floats>()
                                  .RemainingArgs()
                                  .Ret<structlin::Floats>());

// The instruction set in use; the one of that name from now on, or null, if a name is given.
extern "C" const char* structlin_instructions(const char* name) {
  const structlin::Kernels* found = name ? structlin::choose(name) : &structlin::kernels();
  return found ? found->name : nullptr;
}
