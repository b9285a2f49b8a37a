#include "pfc/data/verification_set.h"

#include <optional>
#include <utility>

#include "data/numpy_pickle.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

using pickle::Bytes;
using pickle::Document;
using pickle::Sequence;
using pickle::Value;

/// The encoded bytes of an image.
Bytes image_bytes(std::string_view file, std::size_t i, const Value& value,
                  const NumpyDialect& numpy) {
  const std::string place = "image " + std::to_string(i);
  if (const auto* bytes = std::get_if<Bytes>(&value)) return *bytes;
  const auto* array = numpy.as_array(value);
  if (array != nullptr && array->dimensions > 2) {
    throw DataError(
        file, place,
        "found an array of pixels, want an image as a JPEG, PNG, WebP or BMP file has it: "
        "pixels do not say whether they are RGB or BGR");
  }
  if (array != nullptr && array->type.kind == 'u' && array->type.size == 1) return array->data;
  throw DataError(file, place,
                  "found " + std::string(kind(value)) + ", want bytes or a numpy array of uint8");
}

/// Some tools write -1 for two people.
std::optional<bool> as_flag(double number) {
  if (number == 1) return true;
  if (number == 0 || number == -1) return false;
  return std::nullopt;
}

[[noreturn]] void refuse_flag(std::string_view file, std::size_t i, const std::string& found) {
  throw DataError(file, "flag " + std::to_string(i), "found " + found + ", want a bool, 0 or 1");
}

std::uint8_t flag(std::string_view file, std::size_t i, double number) {
  const auto same = as_flag(number);
  if (!same) refuse_flag(file, i, format("%g", number));
  return *same;
}

std::uint8_t flag(std::string_view file, std::size_t i, const Value& value) {
  if (const auto* same = std::get_if<bool>(&value)) return *same;
  if (const auto* whole = std::get_if<std::int64_t>(&value))
    return flag(file, i, static_cast<double>(*whole));
  if (const auto* real = std::get_if<double>(&value)) return flag(file, i, *real);
  refuse_flag(file, i, std::string(kind(value)));
}

/// Items of a list, a tuple or a numpy array of objects.
const std::vector<Value>& items(std::string_view file, std::string_view what, const Value& value,
                                const Document& document, const NumpyDialect& numpy) {
  const auto* sequence = std::get_if<Sequence>(&value);
  const auto* array = numpy.as_array(value);
  if (array != nullptr && array->objects) sequence = &*array->objects;
  if (sequence != nullptr) return document.sequences[sequence->index];
  throw DataError(file, what, "found " + std::string(kind(value)) + ", want a list or a tuple");
}

}  // namespace

VerificationSet::VerificationSet(std::string_view file, std::string name,
                                 std::span<const std::byte> bytes)
    : name_(std::move(name)) {
  const FileFormat format = recognise_file(bytes).format;
  if (format != FileFormat::kPickle && format != FileFormat::kUnknown) {
    refuse_kind(file, bytes, "a verification set, a pickle as lfw.bin is");
  }
  NumpyDialect numpy;
  Document document = pickle::read(file, bytes, numpy);
  const std::vector<Value>& parts =
      items(file, "(bins, issame_list)", document.root, document, numpy);
  if (parts.size() != 2) {
    throw DataError(file, "(bins, issame_list)",
                    "found " + counted(parts.size(), "item") + ", want 2");
  }
  for (const Value& image : items(file, "bins", parts[0], document, numpy)) {
    images_.push_back(image_bytes(file, images_.size(), image, numpy));
  }
  if (const auto* array = numpy.as_array(parts[1]); array != nullptr && !array->objects) {
    for (std::size_t i = 0; i < array->items; ++i)
      same_.push_back(flag(file, i, NumpyDialect::number(*array, i)));
  } else {
    for (const Value& same : items(file, "issame_list", parts[1], document, numpy))
      same_.push_back(flag(file, same_.size(), same));
  }
  if (images_.size() != 2 * same_.size() || same_.empty()) {
    throw DataError(file, "(bins, issame_list)",
                    "found " + counted(images_.size(), "image") + " and " +
                        counted(same_.size(), "flag") + ", want two images a flag");
  }
  decoded_ = std::move(document.decoded);
}

void VerificationSet::face(std::int64_t index, std::uint8_t* pixels) const {
  decode_square(image(index), pixels);
}

VerificationSet VerificationSet::open(const std::filesystem::path& path) {
  MappedFile mapped(path);
  VerificationSet set(path.string(), path.stem().string(), mapped.bytes());
  set.mapped_ = std::move(mapped);
  return set;
}

VerificationSet VerificationSet::parse(const std::string& name, std::span<const std::byte> bytes) {
  return VerificationSet(name, name, bytes);
}

}  // namespace pfc
