#include "pfc/formats/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/little_endian.h"
#include "base/shown.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

/// The header has room for any number of rows, so that it can be written again when the number is
/// known. Its size is a multiple of 64, as the format requires.
constexpr std::size_t kHeaderBytes = 128;
constexpr std::string_view kWantedNpy = "a NumPy array, .npy of version 1 to 3";

/// Reads the Python dictionary of a header, {'descr': '<f4', 'fortran_order': False, 'shape': (2,
/// 3)}, with its keys in any order.
class HeaderText {
 public:
  explicit HeaderText(std::string_view text) : text_(text) {}

  /// The text after `'key':`, without blanks in front; empty if there is no such key.
  std::string_view value(std::string_view key) const {
    const std::string quoted = "'" + std::string(key) + "'";
    std::size_t at = text_.find(quoted);
    if (at == text_.npos) return {};
    at = text_.find_first_not_of(" :", at + quoted.size());
    return at == text_.npos ? std::string_view() : text_.substr(at);
  }

  /// Parses `(2, 3)`.
  std::optional<std::pair<std::int64_t, std::int64_t>> shape() const {
    std::string_view rest = value("shape");
    const auto rows = take_number(rest, '(');
    const auto columns = take_number(rest, ',');
    rest.remove_prefix(std::min(rest.find_first_not_of(" ,"), rest.size()));
    if (!rows || !columns || !rest.starts_with(')')) return std::nullopt;
    return std::pair(*rows, *columns);
  }

 private:
  /// A number that follows `sign`.
  static std::optional<std::int64_t> take_number(std::string_view& text, char sign) {
    if (!text.starts_with(sign)) return std::nullopt;
    text.remove_prefix(std::min(text.find_first_not_of(' ', 1), text.size()));
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
  }

  std::string_view text_;
};

}  // namespace

NpyWriter::NpyWriter(std::filesystem::path path, std::int64_t columns)
    : file_(std::move(path)), columns_(columns) {
  file_.write(header());
}

NpyWriter::NpyWriter(std::filesystem::path path) : file_(std::move(path)) {
  file_.write(header());
}

std::string NpyWriter::header() const {
  std::string text = "\x93NUMPY\x01";
  text.push_back('\0');
  constexpr std::size_t kLength = kHeaderBytes - 10;  // of the rest
  text.push_back(static_cast<char>(kLength));
  text.push_back('\0');
  text += "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows_) + "," +
          (columns_ ? " " + std::to_string(*columns_) : "") + "), }";
  text.resize(kHeaderBytes - 1, ' ');
  return text + "\n";
}

void NpyWriter::add_row(std::span<const float> values) {
  if (const std::int64_t wanted = columns_.value_or(1); std::ssize(values) != wanted) {
    throw Error("a row of " + counted(values.size(), "value") + " for a matrix of " +
                counted(wanted, "column"));
  }
  file_.write(std::as_bytes(values));
  ++rows_;
}

void NpyWriter::commit() {
  const std::string known = header();
  file_.write_at(0, std::as_bytes(std::span(known)));
  file_.commit();
}

NpyMatrix::NpyMatrix(const std::filesystem::path& path) : file_(path) {
  parse(file_->bytes(), path.string());
}

NpyMatrix::NpyMatrix(std::span<const std::byte> bytes, const std::string& name) {
  parse(bytes, name);
}

void NpyMatrix::parse(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const int version = text.size() > 6 && text.starts_with("\x93NUMPY") ? text[6] : 0;
  const std::size_t prefix = version == 1 ? 10 : 12;  // the header's length has 2 or 4 bytes
  if (version < 1 || version > 3 || text.size() < prefix) {
    if (recognise_file(bytes).format != FileFormat::kNpy) refuse_kind(name, bytes, kWantedNpy);
    throw DataError(name, "offset 0", "a header that is cut off, want " + std::string(kWantedNpy));
  }
  const std::size_t length =
      version == 1 ? load<std::uint16_t>(bytes, 8) : load<std::uint32_t>(bytes, 8);
  if (length > text.size() - prefix) {
    throw DataError(name, "offset 8",
                    "a header of " + counted(length, "byte") + " goes beyond the end");
  }
  const std::string_view described = text.substr(prefix, length);
  const HeaderText header(described);
  const auto shape = header.shape();
  double_ = header.value("descr").starts_with("'<f8'");
  if (!shape || (!double_ && !header.value("descr").starts_with("'<f4'")) ||
      !header.value("fortran_order").starts_with("False")) {
    throw DataError(name, "header",
                    "found " + shown(described) + ", want a matrix of '<f4' or '<f8' in C order");
  }
  std::tie(rows_, columns_) = *shape;
  values_ = bytes.subspan(prefix + length);
  const std::uint64_t size = double_ ? 8 : 4;
  const auto columns = static_cast<std::uint64_t>(columns_),
             rows = static_cast<std::uint64_t>(rows_);
  if (columns == 0 || rows > values_.size() / size / columns) {
    throw DataError(name, "header",
                    "says " + counted(rows, "row") + " of " + counted(columns, "value") + ", " +
                        counted(values_.size(), "byte") + " follow");
  }
}

void NpyMatrix::read_row(std::int64_t row, std::span<float> values) const {
  const auto columns = static_cast<std::size_t>(columns_);
  const auto begin = static_cast<std::size_t>(row) * columns;
  if (!double_) {
    std::memcpy(values.data(), values_.data() + 4 * begin, 4 * columns);
    return;
  }
  for (std::size_t i = 0; i < columns; ++i)
    values[i] = static_cast<float>(load<double>(values_, 8 * (begin + i)));
}

void NpyMatrix::forget() const {
  if (file_) file_->forget();
}

}  // namespace pfc
