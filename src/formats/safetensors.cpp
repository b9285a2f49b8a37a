#include "pfc/formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"

namespace pfc {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

using Json = nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kPartBytes = std::size_t{1} << 18;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the limit of the safetensors library
constexpr int kHeaderDepth = 3;                    // header, tensor, shape
constexpr std::string_view kMetadataKey = "__metadata__";

class Parser {
 public:
  Parser(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}

  SafetensorsContent parse() {
    SafetensorsContent content;
    const Json header = read_header();
    if (!header.is_object()) fail("header", "not a JSON object");
    for (const auto& [key, value] : header.items()) {
      if (key == kMetadataKey) {
        content.metadata = read_metadata(value);
      } else {
        content.tensors.push_back(read_tensor(key, value));
      }
    }
    check_ranges(content.tensors);
    return content;
  }

 private:
  [[noreturn]] void fail(std::string_view place, std::string_view what) const {
    throw DataError(name_, place, what);
  }

  Json read_header() {
    const FileFormat format = recognise_file(file_).format;
    if (format != FileFormat::kSafetensors && format != FileFormat::kUnknown)
      refuse_kind(name_, file_, "a safetensors file");
    std::uint64_t length = 0;
    if (file_.size() < kLengthBytes) {
      fail("offset 0", "the file has " + std::to_string(file_.size()) + " bytes, want at least 8");
    }
    std::memcpy(&length, file_.data(), kLengthBytes);
    if (length > kMaxHeader || length > file_.size() - kLengthBytes) {
      fail("offset 0",
           "a safetensors header of " + std::to_string(length) + " bytes, want at most " +
               std::to_string(std::min<std::uint64_t>(kMaxHeader, file_.size() - kLengthBytes)));
    }
    const auto text = file_.subspan(kLengthBytes, length);
    data_ = file_.subspan(kLengthBytes + length);

    // By default the parser silently keeps the last of two equal keys, and follows nesting as deep
    // as the header is long.
    std::set<std::string> names;
    const auto watch = [&](int depth, Json::parse_event_t event, const Json& parsed) {
      if (depth > kHeaderDepth) fail("header", "nested too deeply");
      if (event == Json::parse_event_t::key && depth == 1 &&
          !names.insert(parsed.get<std::string>()).second) {
        fail("header", "the name '" + parsed.get<std::string>() + "' comes twice");
      }
      return true;
    };
    const auto* first = reinterpret_cast<const char*>(text.data());
    try {
      return Json::parse(first, first + text.size(), watch);
    } catch (const Json::parse_error& error) {
      fail("header, byte " + std::to_string(error.byte), "not JSON");
    } catch (const Json::exception&) {
      fail("header", "a number beyond every type");
    }
  }

  Metadata read_metadata(const Json& value) const {
    Metadata metadata;
    if (!value.is_object()) fail(kMetadataKey, "not a JSON object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail(kMetadataKey, "the value of '" + key + "' is not a string");
      metadata[key] = text.get<std::string>();
    }
    return metadata;
  }

  /// An array of integers that int64 holds.
  std::vector<std::int64_t> read_integers(const Json& tensor, const char* key,
                                          const std::string& place) const {
    const auto found = tensor.find(key);
    if (found == tensor.end() || !found->is_array()) {
      fail(place, std::string("want an array '") + key + "'");
    }
    std::vector<std::int64_t> values;
    for (const Json& item : *found) {
      if (!item.is_number_unsigned() ||
          item.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
        fail(place,
             std::string("'") + key + "' holds something other than integers from 0 to 2^63 - 1");
      }
      values.push_back(item.get<std::int64_t>());
    }
    return values;
  }

  TensorView read_tensor(const std::string& name, const Json& value) const {
    const std::string place = "tensor '" + name + "'";
    if (!value.is_object()) fail(place, "not a JSON object");
    const auto dtype = value.find("dtype");
    if (dtype == value.end() || !dtype->is_string()) fail(place, "want a string 'dtype'");
    TensorView tensor{name, dtype->get<std::string>(), read_integers(value, "shape", place), {}};
    if (element_size(tensor.dtype) == 0) fail(place, "unknown dtype '" + tensor.dtype + "'");
    const auto size = byte_size(tensor.dtype, tensor.shape);
    if (!size) fail(place, "the shape has more than 2^64 bytes");
    const auto range = read_integers(value, "data_offsets", place);
    if (range.size() != 2) fail(place, "want two data_offsets");
    const auto begin = static_cast<std::uint64_t>(range[0]);
    const auto end = static_cast<std::uint64_t>(range[1]);
    if (begin > end || end > data_.size()) {
      fail(place, "data_offsets " + std::to_string(begin) + " to " + std::to_string(end) +
                      ", want a range of the " + std::to_string(data_.size()) +
                      " bytes of data; is the file cut off?");
    }
    if (end - begin != *size) {
      fail(place, "data_offsets span " + std::to_string(end - begin) + " bytes, the shape has " +
                      std::to_string(*size));
    }
    tensor.bytes = data_.subspan(begin, *size);
    return tensor;
  }

  /// Sorts by position and checks that the tensors tile the data.
  void check_ranges(std::vector<TensorView>& tensors) const {
    // An empty tensor comes before another one that begins at the same place.
    std::ranges::sort(tensors, {}, [](const TensorView& tensor) {
      return std::pair(tensor.bytes.data(), tensor.bytes.size());
    });
    const std::byte* expected = data_.data();
    for (const TensorView& tensor : tensors) {
      if (tensor.bytes.data() != expected) {
        fail("tensor '" + tensor.name + "'",
             "begins at " + std::to_string(tensor.bytes.data() - data_.data()) +
                 " of the data, want " + std::to_string(expected - data_.data()) +
                 ": tensors must neither overlap nor leave a gap");
      }
      expected += tensor.bytes.size();
    }
    if (const auto left = data_.data() + data_.size() - expected; left != 0) {
      fail("end", std::to_string(left) + " bytes of data belong to no tensor");
    }
  }

  std::span<const std::byte> file_;
  std::string_view name_;
  std::span<const std::byte> data_;  ///< what comes after the header
};

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view name) {
  return Parser(file, name).parse();
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), content_(parse_safetensors(file_.bytes(), path.string())) {}

const std::string& SafetensorsFile::metadata(const std::string& key) const {
  const auto found = content_.metadata.find(key);
  if (found == content_.metadata.end()) {
    throw DataError(file_.path().string(), kMetadataKey, "'" + key + "' is missing");
  }
  return found->second;
}

std::int64_t SafetensorsFile::integer(const std::string& key) const {
  const std::string& text = metadata(key);
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  if (const auto [stop, error] = std::from_chars(text.data(), end, value);
      error != std::errc() || stop != end) {
    throw DataError(file_.path().string(), kMetadataKey, key + " '" + text + "', want an integer");
  }
  return value;
}

double SafetensorsFile::real(const std::string& key) const {
  const std::string& text = metadata(key);
  double value = 0;
  const char* end = text.data() + text.size();
  if (const auto [stop, error] = std::from_chars(text.data(), end, value);
      error != std::errc() || stop != end || !std::isfinite(value)) {
    throw DataError(file_.path().string(), kMetadataKey, key + " '" + text + "', want a number");
  }
  return value;
}

const TensorView& SafetensorsFile::tensor(std::string_view name) const {
  const auto found = std::ranges::find(content_.tensors, name, &TensorView::name);
  if (found == content_.tensors.end()) {
    throw DataError(file_.path().string(), "tensor '" + std::string(name) + "'", "missing");
  }
  return *found;
}

std::uint64_t SafetensorsFile::offset_of(const TensorView& tensor) const {
  return static_cast<std::uint64_t>(tensor.bytes.data() - file_.bytes().data());
}

TensorStream as_stream(const TensorView& tensor) {
  return {tensor.name, tensor.dtype, tensor.shape,
          [bytes = tensor.bytes](const ByteSink& sink) { sink(bytes); }};
}

Checksums write_safetensors(const std::filesystem::path& path, std::vector<TensorStream> tensors,
                            const Metadata& metadata) {
  std::ranges::stable_sort(tensors, std::greater(),
                           [](const TensorStream& tensor) { return element_size(tensor.dtype); });
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::uint64_t end = 0;
  for (const TensorStream& tensor : tensors) {
    const std::uint64_t begin = end;
    end += byte_size(tensor.dtype, tensor.shape).value();
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  ChecksumBuilder sums;
  const auto write = [&](std::span<const std::byte> bytes) {
    // In parts that stay in the processor's cache from the checksum to the write.
    for (std::size_t size; !bytes.empty(); bytes = bytes.subspan(size)) {
      size = std::min(bytes.size(), kPartBytes);
      sums.add(bytes.first(size));
      file.write(bytes.first(size));
    }
  };
  write(std::as_bytes(std::span(&length, 1)));
  write(std::as_bytes(std::span(text)));
  for (const TensorStream& tensor : tensors) tensor.read(write);
  file.commit();
  return sums.finish();
}

Checksums write_safetensors(const std::filesystem::path& path,
                            const std::vector<TensorView>& tensors, const Metadata& metadata) {
  std::vector<TensorStream> streams;
  std::ranges::transform(tensors, std::back_inserter(streams), as_stream);
  return write_safetensors(path, std::move(streams), metadata);
}

}  // namespace pfc
