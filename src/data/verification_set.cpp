#include "pfc/data/verification_set.h"

#include <utility>

#include "data/numpy_pickle.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using pickle::Bytes;
using pickle::Document;
using pickle::Sequence;
using pickle::Value;

/// The encoded bytes of an image.
Bytes image_bytes(std::string_view file, std::size_t i, const Value& value,
                  const NumpyDialect& numpy) {
  if (const auto* bytes = std::get_if<Bytes>(&value)) return *bytes;
  const auto* array = numpy.as_array(value);
  if (array != nullptr && array->type == NumpyDialect::DType::kUint8) return array->data;
  throw DataError(file, "image " + std::to_string(i),
                  "found " + std::string(kind(value)) + ", want bytes or a numpy array of uint8");
}

std::uint8_t flag(std::string_view file, std::size_t i, const Value& value) {
  if (const auto* same = std::get_if<bool>(&value)) return *same;
  const auto* number = std::get_if<std::int64_t>(&value);
  if (number != nullptr && (*number == 0 || *number == 1)) return *number == 1;
  throw DataError(file, "flag " + std::to_string(i),
                  "found " + (number ? std::to_string(*number) : std::string(kind(value))) +
                      ", want a bool, 0 or 1");
}

const std::vector<Value>& items(std::string_view file, std::string_view what, const Value& value,
                                const Document& document) {
  if (const auto* sequence = std::get_if<Sequence>(&value)) {
    return document.sequences[sequence->index];
  }
  throw DataError(file, what, "found " + std::string(kind(value)) + ", want a list or a tuple");
}

}  // namespace

VerificationSet::VerificationSet(std::string_view file, std::string name,
                                 std::span<const std::byte> bytes)
    : name_(std::move(name)) {
  NumpyDialect numpy;
  Document document = pickle::read(file, bytes, numpy);
  const std::vector<Value>& parts = items(file, "(bins, issame_list)", document.root, document);
  if (parts.size() != 2) {
    throw DataError(file, "(bins, issame_list)",
                    "found " + counted(parts.size(), "item") + ", want 2");
  }
  for (const Value& image : items(file, "bins", parts[0], document)) {
    images_.push_back(image_bytes(file, images_.size(), image, numpy));
  }
  const auto* array = numpy.as_array(parts[1]);
  if (array != nullptr && array->type == NumpyDialect::DType::kBool) {
    for (const std::byte same : array->data) {
      same_.push_back(same != std::byte{0});
    }
  } else {
    for (const Value& same : items(file, "issame_list", parts[1], document)) {
      same_.push_back(flag(file, same_.size(), same));
    }
  }
  if (images_.size() != 2 * same_.size() || same_.empty()) {
    throw DataError(file, "(bins, issame_list)",
                    "found " + counted(images_.size(), "image") + " and " +
                        counted(same_.size(), "flag") + ", want two images a flag");
  }
  decoded_ = std::move(document.decoded);
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
