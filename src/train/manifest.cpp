#include "pfc/train/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kFormat = "partial-fc checkpoint 1";
constexpr int kDepth = 5;  // manifest, files, file, its blocks, a checksum
constexpr int kMostRanks = 1 << 20;
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::string hex(std::uint64_t value) {
  return format("%016llx", static_cast<unsigned long long>(value));
}

class Reader {
 public:
  Reader(std::string_view json, std::string_view name) : name_(name), root_(parse(json)) {}

  Manifest read() const {
    if (const auto found = text(root_, "format"); found != kFormat)
      fail("format", "'" + found + "', want '" + kFormat + "'");
    Manifest manifest;
    manifest.step = integer(root_, "step", 0);
    manifest.world = static_cast<int>(integer(root_, "world", 1, kMostRanks));
    manifest.config = text(root_, "config");
    manifest.seed = unsigned_of(member(root_, "seed"), "seed");
    const OrderedJson& data = member(root_, "data");
    manifest.images = integer(data, "images", 1);
    manifest.identities = integer(data, "identities", 1);
    manifest.labels = from_hex(member(data, "labels"), "labels");
    if (data.contains("people")) manifest.people = from_hex(data["people"], "people");
    for (const OrderedJson& key : array(data, "excluded")) {
      if (!key.is_string()) fail("excluded", "holds something other than strings");
      manifest.excluded.push_back(key.get<std::string>());
    }
    manifest.state = root_.contains("state") ? state(root_["state"]) : state_of_older_version();
    const OrderedJson& files = member(root_, "files");
    if (!files.is_object()) fail("files", "not a JSON object");
    for (const auto& [file, sums] : files.items()) manifest.files[file] = checksums(file, sums);
    return manifest;
  }

 private:
  [[noreturn]] void fail(std::string_view place, std::string_view what) const {
    throw DataError(name_, place, what);
  }

  OrderedJson parse(std::string_view json) const {
    const auto watch = [&](int depth, OrderedJson::parse_event_t, const OrderedJson&) {
      if (depth > kDepth) fail("manifest", "nested too deeply");
      return true;
    };
    try {
      OrderedJson root = OrderedJson::parse(json, watch);
      if (root.is_object()) return root;
    } catch (const OrderedJson::parse_error& error) {
      fail("byte " + std::to_string(error.byte), "not JSON");
    } catch (const OrderedJson::exception&) {
      fail("manifest", "a number beyond every type");
    }
    fail("manifest", "not a JSON object");
  }

  const OrderedJson& member(const OrderedJson& object, const char* key) const {
    if (!object.is_object()) fail(key, "not within a JSON object");
    const auto found = object.find(key);
    if (found == object.end()) fail(key, "missing");
    return *found;
  }

  std::string text(const OrderedJson& object, const char* key) const {
    const OrderedJson& value = member(object, key);
    if (!value.is_string()) fail(key, "not a string");
    return value.get<std::string>();
  }

  std::uint64_t unsigned_of(const OrderedJson& value, std::string_view place) const {
    if (!value.is_number_unsigned()) fail(place, "not a whole number of 0 or more");
    return value.get<std::uint64_t>();
  }

  std::int64_t integer(const OrderedJson& object, const char* key, std::int64_t least,
                       std::int64_t most = kMost) const {
    const std::uint64_t value = unsigned_of(member(object, key), key);
    if (value < static_cast<std::uint64_t>(least) || value > static_cast<std::uint64_t>(most)) {
      fail(key, std::to_string(value) + ", want " + std::to_string(least) + " to " +
                    std::to_string(most));
    }
    return static_cast<std::int64_t>(value);
  }

  const OrderedJson& array(const OrderedJson& object, const char* key) const {
    const OrderedJson& value = member(object, key);
    if (!value.is_array()) fail(key, "not a JSON array");
    return value;
  }

  std::uint64_t from_hex(const OrderedJson& value, std::string_view place) const {
    if (value.is_string()) {
      const auto& digits = value.get_ref<const std::string&>();
      std::uint64_t number = 0;
      const char* end = digits.data() + digits.size();
      const auto [stop, error] = std::from_chars(digits.data(), end, number, 16);
      if (error == std::errc() && stop == end) return number;
    }
    fail(place, "not a number in hexadecimal digits");
  }

  SavedNumbers numbers(const OrderedJson& value, std::string_view key) const {
    const OrderedJson list = value.is_array() ? value : OrderedJson::array({value});
    const auto is = [&](bool (OrderedJson::*kind)() const noexcept) {
      return std::ranges::all_of(list, [&](const OrderedJson& one) { return (one.*kind)(); });
    };
    if (!is(&OrderedJson::is_number)) fail(key, "neither a number nor a list of numbers");
    if (!is(&OrderedJson::is_number_integer)) return list.get<std::vector<double>>();
    for (const OrderedJson& one : list) {
      if (one.is_number_unsigned() && one.get<std::uint64_t>() > kMost)
        fail(key, one.dump() + ", want " + std::to_string(kMost) + " at most");
    }
    return list.get<std::vector<std::int64_t>>();
  }

  std::map<std::string, SavedNumbers> state(const OrderedJson& object) const {
    if (!object.is_object()) fail("state", "not a JSON object");
    std::map<std::string, SavedNumbers> found;
    for (const auto& [key, value] : object.items()) found[key] = numbers(value, key);
    return found;
  }

  /// Older versions had a field for each number.
  std::map<std::string, SavedNumbers> state_of_older_version() const {
    std::map<std::string, SavedNumbers> found;
    for (const char* key : {"corrupt", "best_accuracy"})
      found[key] = numbers(member(root_, key), key);
    if (root_.contains("best_on")) {
      const auto set = static_cast<std::int64_t>(from_hex(root_["best_on"], "best_on"));
      found["best_on"] = std::vector{set};
    }
    if (root_.contains("loss_scaler")) {
      for (const auto& [key, value] : state(root_["loss_scaler"]))
        found["loss_scaler." + key] = value;
    }
    return found;
  }

  Checksums checksums(const std::string& file, const OrderedJson& value) const {
    // Only a name, so that no file outside the folder is read.
    if (file.empty() || file.find('/') != file.npos || file == "." || file == "..")
      fail("files", "'" + file + "' is no name of a file");
    Checksums sums;
    sums.bytes = unsigned_of(member(value, "bytes"), file);
    for (const OrderedJson& block : array(value, "xxh3_of_8_mib"))
      sums.blocks.push_back(from_hex(block, file));
    const std::uint64_t full = sums.bytes / Checksums::kBlockBytes;
    const std::uint64_t wanted = full + (sums.bytes % Checksums::kBlockBytes > 0 ? 1 : 0);
    if (sums.blocks.size() != wanted) {
      fail(file, std::to_string(sums.blocks.size()) + " checksums, want " + std::to_string(wanted));
    }
    return sums;
  }

  std::string_view name_;
  OrderedJson root_;
};

}  // namespace

std::string to_json(const Manifest& manifest) {
  OrderedJson files = OrderedJson::object();
  for (const auto& [file, sums] : manifest.files) {
    OrderedJson blocks = OrderedJson::array();
    for (const std::uint64_t block : sums.blocks) blocks.push_back(hex(block));
    files[file] = {{"bytes", sums.bytes}, {"xxh3_of_8_mib", std::move(blocks)}};
  }
  OrderedJson state = OrderedJson::object();
  for (const auto& entry : manifest.state) {
    std::visit(
        [&](const auto& list) {
          state[entry.first] = list.size() == 1 ? OrderedJson(list.front()) : OrderedJson(list);
        },
        entry.second);
  }
  const OrderedJson json = {{"format", kFormat},
                            {"step", manifest.step},
                            {"world", manifest.world},
                            {"seed", manifest.seed},
                            {"data",
                             {{"images", manifest.images},
                              {"identities", manifest.identities},
                              {"labels", hex(manifest.labels)},
                              {"people", hex(manifest.people)},
                              {"excluded", manifest.excluded}}},
                            {"state", std::move(state)},
                            {"config", manifest.config},
                            {"files", std::move(files)}};
  return json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Manifest parse_manifest(std::string_view json, std::string_view name) {
  return Reader(json, name).read();
}

}  // namespace pfc
