#include "pfc/export/npy.h"

#include <string>
#include <utility>

#include "pfc/base/error.h"

namespace pfc {
namespace {

/// A header has room for any number of rows, so that it can be written again when they are known.
/// Its size is a multiple of 64, as the format wants.
constexpr std::size_t kHeaderBytes = 128;

std::string header(std::int64_t rows, std::int64_t columns) {
  std::string text = "\x93NUMPY\x01";
  text.push_back('\0');
  constexpr std::size_t kLength = kHeaderBytes - 10;  // of what follows
  text.push_back(static_cast<char>(kLength));
  text.push_back('\0');
  text += "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
          std::to_string(columns) + "), }";
  text.resize(kHeaderBytes - 1, ' ');
  return text + "\n";
}

}  // namespace

NpyWriter::NpyWriter(std::filesystem::path path, std::int64_t columns)
    : file_(std::move(path)), columns_(columns) {
  file_.write(header(0, columns));
}

void NpyWriter::add_row(std::span<const float> values) {
  if (std::ssize(values) != columns_) {
    throw Error("a row of " + std::to_string(values.size()) + " values for a matrix of " +
                std::to_string(columns_) + " columns");
  }
  file_.write(std::as_bytes(values));
  ++rows_;
}

void NpyWriter::commit() {
  const std::string known = header(rows_, columns_);
  file_.write_at(0, std::as_bytes(std::span(known)));
  file_.commit();
}

}  // namespace pfc
